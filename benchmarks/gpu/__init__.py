"""What can only be found out on a GPU: is it right there, and how fast beside PyTorch.

    python benchmarks/gpu/check.py      everything in ten minutes; a table, and a JSON file
    python benchmarks/gpu/check.py --only convolutions training --seconds 500

A plain Python with NumPy, CuPy and PyTorch is enough: nothing needs to be installed. Each step is a
process of its own with a time limit, so that none takes the others with it.

| file | what |
|---|---|
| ``check.py`` | the steps, one after the other; the summary |
| ``tree.py`` | finds minidl without an installation |
| ``report.py`` | rows: what a step found out, kept from the moment that it is known |
| ``facts.py`` | the machine: versions, clocks, bandwidth; every kernel compiled |
| ``correct.py`` | every rung equals NumPy; derivatives; models train as on the CPU |
| ``sanitized.py``, ``launch_once.py`` | compute-sanitizer: overruns and races |
| ``cases.py`` | what is timed, with predictions |
| ``timing.py`` | taking turns, bursts between CUDA events, CUDA graphs |
| ``rival.py`` | PyTorch's side |
| ``convolutions.py``, ``layers.py``, ``training.py`` | the races |
| ``ladders.py`` | every rung's time; writes the tables of kernels/*.cu |
| ``names.py`` | which kernels cuDNN picked |
"""
