// What a warp's accesses cost: counted request by request, as the memory system of a GPU sees them.
//
// The lanes of a warp that execute one instruction together make one request. On the emulator they execute it
// one lane after the other, so the requests are put together again: the k-th time that one lane comes to a site
// and the k-th time that another does are one request. Whenever the lanes meet, at a barrier or in a warp's
// collective, counting starts anew, so that lanes which took different ways are together again.
//
//     global memory   moves whole sectors of 32 bytes: each that a request touches, once
//     shared memory   has 32 banks, 4 bytes wide, word after word. A bank serves one word in a turn ("wavefront"),
//                     to all lanes that ask for it. Of 8 bytes a lane, half a warp is served at a time, of 16 a
//                     quarter. Atomics on one word take turns.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

namespace emulator {

constexpr unsigned ALL = 0xffffffffu;

struct Tally {  // of one site; Python reads these (minidl/cuda/emulator/watching.py)
    int line, space, access, size;
    long long requests, moved, ideal;
};

struct Request {
    unsigned lanes;
    uint32_t offset[32];  // from a multiple of 256 bytes, or from the start of a shared variable
};

struct Pending {  // the requests of one site and one warp, since its lanes last met
    int tally;
    unsigned count[32];  // how often each lane came by
    std::vector<Request> requests;
};

class Traffic {
  public:
    std::vector<Tally> tallies;

    void clear() {
        tallies.clear();
        for (auto& pending : open) pending.clear();
    }

    int add(int line, int space, int access, int size) {
        tallies.push_back({line, space, access, size, 0, 0, 0});
        return int(tallies.size()) - 1;
    }

    void record(Pending& pending, int warp, int lane, uint32_t offset) {
        if (pending.requests.empty()) open[warp].push_back(&pending);
        const unsigned k = pending.count[lane]++;
        if (k >= pending.requests.size()) pending.requests.resize(k + 1, Request{});
        Request& request = pending.requests[k];
        request.lanes |= 1u << lane;
        request.offset[lane] = offset;
    }

    // The lanes in `mask` have met; `all`: nobody else of the warp is left.
    void align(int warp, unsigned mask, bool all) {
        if (all) return flush(warp);
        for (Pending* pending : open[warp]) {
            unsigned most = 0;
            for (unsigned left = mask; left; left &= left - 1) most = std::max(most, pending->count[__builtin_ctz(left)]);
            for (unsigned left = mask; left; left &= left - 1) pending->count[__builtin_ctz(left)] = most;
        }
    }

    void flush(int warp) {
        for (Pending* pending : open[warp]) {
            Tally& tally = tallies[pending->tally];
            for (const Request& request : pending->requests) {
                if (!request.lanes) continue;  // where lanes that were alone have skipped some
                tally.requests++;
                (tally.space ? count_wavefronts : count_sectors)(request, tally);
            }
            pending->requests.clear();
            memset(pending->count, 0, sizeof pending->count);
        }
        open[warp].clear();
    }

  private:
    std::vector<Pending*> open[32];  // by warp

    static void count_sectors(const Request& request, Tally& tally) {
        uint32_t sectors[64], bytes[64];  // a number, and which of its 32 bytes are asked for
        int count = 0, asked = 0;
        for (unsigned left = request.lanes; left; left &= left - 1) {
            uint32_t at = request.offset[__builtin_ctz(left)];
            for (int rest = tally.size; rest > 0;) {
                const int inside = std::min(rest, 32 - int(at % 32));
                int s = count - 1;  // most often, that of the lane before
                while (s >= 0 && sectors[s] != at / 32) s--;
                if (s < 0) s = count++, sectors[s] = at / 32, bytes[s] = 0;
                bytes[s] |= uint32_t((uint64_t(1) << inside) - 1) << at % 32;
                at += inside, rest -= inside;
            }
        }
        for (int s = 0; s < count; s++) asked += __builtin_popcount(bytes[s]);
        tally.moved += count;
        tally.ideal += (asked + 31) / 32;
    }

    static void count_wavefronts(const Request& request, Tally& tally) {
        const int part = tally.size <= 4 ? 32 : tally.size <= 8 ? 16 : 8;  // lanes that are served at a time
        for (int first = 0; first < 32; first += part) {
            uint32_t words[32][32];
            int different[32] = {}, turns[32] = {}, total = 0, most = 0;  // by bank
            for (int lane = first; lane < first + part; lane++) {
                if (!(request.lanes >> lane & 1)) continue;
                const uint32_t at = request.offset[lane];
                for (uint32_t word = at / 4; word <= (at + tally.size - 1) / 4; word++) {
                    const int bank = word % 32;
                    int known = 0;
                    while (known < different[bank] && words[bank][known] != word) known++;
                    const bool is_new = known == different[bank];
                    if (is_new) words[bank][different[bank]++] = word, total++;
                    turns[bank] += is_new || tally.access == ATOMIC;
                    most = std::max(most, turns[bank]);
                }
            }
            tally.moved += most;
            tally.ideal += (total + 31) / 32;
        }
    }
};

}  // namespace emulator
