"""Laws: what holds for every op, checked on the samples of `minidl.samples`."""
