// Who touched what, when: the memory of memory, in which races are found.
//
// Two accesses by different threads to the same bytes, at least one of them a write, race unless something orders
// them (or both are atomic). In one launch only two things do:
//
//     __syncthreads   each counts an epoch of the block, and all before is ordered before all after
//     __syncwarp      orders the lanes that take part. Each lane has a clock, and knows up to which time of every
//                     other lane it has heard of what that did (a vector clock)
//
// Shuffles order no memory, and blocks are never ordered among each other.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "runtime.hpp"

namespace emulator {

// An access, as it is remembered. 64 bits say when: block 0 is never.
struct Stamp {
    uint32_t block;  // of all that this library has run
    uint32_t epoch, clock;
    uint16_t thread, line;
    bool same_time(const Stamp& other) const {
        return block == other.block && epoch == other.epoch && clock == other.clock && thread == other.thread;
    }
};

class Clocks {
  public:
    void begin_block() {
        epoch = 0;
        for (auto& warp : heard)
            for (int lane = 0; lane < 32; lane++)
                for (int other = 0; other < 32; other++) warp[lane][other] = lane == other;
    }

    void barrier() { epoch++; }

    void warp_sync(int warp, unsigned lanes) {
        uint32_t latest[32] = {};
        for (unsigned left = lanes; left; left &= left - 1)
            for (int other = 0; other < 32; other++)
                latest[other] = std::max(latest[other], heard[warp][__builtin_ctz(left)][other]);
        for (unsigned left = lanes; left; left &= left - 1) {
            const int lane = __builtin_ctz(left);
            std::copy(latest, latest + 32, heard[warp][lane]);
            heard[warp][lane][lane]++;
        }
    }

    Stamp stamp(int line) const {
        return {uint32_t(block_serial), epoch, heard[current->warp][current->lane][current->lane],
                uint16_t(current->number), uint16_t(line)};
    }

    // Whether an access is ordered before the running thread. `blocks`: whether other blocks matter.
    bool ordered(const Stamp& before, bool blocks) const {
        if (!before.block) return true;
        if (before.block != uint32_t(block_serial)) return !blocks;
        if (before.epoch != epoch || before.thread == current->number) return true;
        if (before.thread / 32 != current->warp) return false;
        return heard[current->warp][current->lane][before.thread % 32] >= before.clock;
    }

  private:
    uint32_t epoch;
    uint32_t heard[32][32][32];  // by warp and lane: the latest time of each lane that it has heard of
};

// Of many accesses that may be concurrent (reads, or atomics) those that are kept: enough that whoever comes
// next finds one that is not its own, and not ordered, if there is any. Of a warp's lanes that come at the same time,
// all are kept; of others, those of one earlier time.
struct Crowd {
    Stamp last, beside, other_warp, other_block;
    uint32_t last_lanes, beside_lanes;  // of the warp: all that came when `last` did, and when `beside` did

    void add(const Stamp& now) {
        if (last.block != now.block) {
            other_block = last, last_lanes = beside_lanes = 0;
        } else if (last.thread / 32 != now.thread / 32 || last.epoch != now.epoch) {
            if (last.thread / 32 != now.thread / 32) other_warp = last;
            last_lanes = beside_lanes = 0;
        } else if (last.clock != now.clock) {
            const uint32_t others = last_lanes & ~(1u << now.thread % 32);
            if (others) beside = last, beside_lanes = others;
            last_lanes = 0;
        }
        last = now;
        last_lanes |= 1u << now.thread % 32;
    }

    const Stamp* not_ordered(const Clocks& clocks, bool blocks) {
        if (last_lanes & (last_lanes - 1) || beside_lanes) {
            find_lane(last, last_lanes, clocks, blocks);
            find_lane(beside, beside_lanes, clocks, blocks);
        }
        if (!clocks.ordered(last, blocks)) return &last;
        if (beside_lanes && !clocks.ordered(beside, blocks)) return &beside;
        if (!clocks.ordered(other_warp, blocks)) return &other_warp;
        if (!clocks.ordered(other_block, blocks)) return &other_block;
        return nullptr;
    }

  private:
    // Lets a stamp be that of a lane that is not ordered, if there is one.
    static void find_lane(Stamp& stamp, uint32_t lanes, const Clocks& clocks, bool blocks) {
        if (stamp.block != uint32_t(block_serial)) return;
        for (uint32_t left = lanes; left; left &= left - 1) {
            Stamp other = stamp;
            other.thread = other.thread / 32 * 32 + __builtin_ctz(left);
            if (!clocks.ordered(other, blocks)) { stamp = other; return; }
        }
    }
};

struct Cell {
    Stamp write;
    Crowd reads;
};

// The earlier access that one races with.
struct Encounter {
    bool found;
    Stamp before;
    Access access;
};

// The accesses to one array, cell by cell. Cells are as large as the smallest access that was seen.
class History {
  public:
    // blocks: whether accesses by other blocks matter
    History(size_t size, int cell, bool blocks) : size(size), cell(cell), blocks(blocks) {}
    ~History() { free(cells), free(atomics); }
    History(const History&) = delete;

    // Remembers an access, and says with which earlier one it races.
    Encounter meet(size_t at, int bytes, Access access, const Stamp& now, const Clocks& clocks) {
        if (bytes < cell) shrink(bytes);
        if (!cells) cells = made<Cell>(cell);
        if (access == ATOMIC && !atomics) atomics = made<Crowd>(cell);
        Encounter first{};
        for (size_t i = at / cell; i <= (at + bytes - 1) / cell; i++) {
            if (access == READ && cells[i].reads.last.same_time(now)) continue;
            if (!first.found) first = look(i, access, clocks);
            if (access == READ) cells[i].reads.add(now);
            else if (access == ATOMIC) atomics[i].add(now);
            else cells[i].write = now;
        }
        return first;
    }

  private:
    size_t size;
    int cell;
    bool blocks;
    Cell* cells = nullptr;
    Crowd* atomics = nullptr;

    Encounter look(size_t i, Access access, const Clocks& clocks) const {
        const Stamp* other = nullptr;
        if (!clocks.ordered(cells[i].write, blocks)) return {true, cells[i].write, WRITE};
        if (access != ATOMIC && atomics && (other = atomics[i].not_ordered(clocks, blocks))) return {true, *other, ATOMIC};
        if (access != READ && (other = cells[i].reads.not_ordered(clocks, blocks))) return {true, *other, READ};
        return {};
    }

    template <class T>
    T* made(int cell) const {  // zeros, which the system provides when they are first touched
        T* memory = static_cast<T*>(calloc(size / cell + 1, sizeof(T)));
        if (!memory) abort();
        return memory;
    }

    void shrink(int to) {
        split(cells, to);
        split(atomics, to);
        cell = to;
    }

    template <class T>
    void split(T*& old, int to) const {
        if (!old) return;
        T* finer = made<T>(to);
        for (size_t i = 0; i < size / to; i++) finer[i] = old[i * to / cell];
        free(old);
        old = finer;
    }
};

}  // namespace emulator
