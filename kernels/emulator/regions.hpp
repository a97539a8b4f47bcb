// What lies where in memory: arguments, shared variables, and what is not the kernel's business.
#pragma once
#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "races.hpp"

namespace emulator {

enum Space { GLOBAL, SHARED, OWN };  // OWN: of the emulator, and constants

struct Region {
    uintptr_t start;
    size_t size;
    Space space;
    int number;         // of the argument or the shared variable, in the order in which Python knows them
    bool constant;
    std::unique_ptr<History> history;  // where it can be written
    std::vector<char> written;         // byte by byte, whether it is written: of shared memory, by this block
    bool variable = false;             // whether it is a __device__ variable
    bool holds(uintptr_t at, int bytes) const { return at - start < size && at + bytes <= start + size; }
};

class Regions {
  public:
    Region nowhere{0, 0, OWN, -1, false, {}, {}};

    // cell: the smallest access that is likely
    Region& add(const void* at, size_t size, Space space, int number, bool constant, int cell) {
        all.push_back({reinterpret_cast<uintptr_t>(at), size, space, number, constant, {}, {}});
        Region& region = all.back();
        if (space == SHARED) region.written.assign(size, 0);
        if (space != OWN && !constant) region.history.reset(new History(size, cell, space == GLOBAL));
        const auto before = [](Region* a, Region* b) { return a->start < b->start; };
        by_address.insert(std::upper_bound(by_address.begin(), by_address.end(), &region, before), &region);
        return region;
    }

    Region* at(uintptr_t address) const {
        const auto before = [](uintptr_t a, Region* r) { return a < r->start; };
        const auto next = std::upper_bound(by_address.begin(), by_address.end(), address, before);
        return next != by_address.begin() && next[-1]->holds(address, 1) ? next[-1] : nullptr;
    }

    // The array or shared variable next to an address, less than `reach` bytes away; null if there is none.
    Region* nearest(uintptr_t address, uintptr_t reach) const {
        Region* best = nullptr;
        for (Region* region : by_address) {
            if (region->space == OWN) continue;
            const uintptr_t end = region->start + region->size;
            const uintptr_t distance = address < region->start ? region->start - address : address >= end ? address - end : 0;
            if (distance < reach) reach = distance, best = region;
        }
        return best;
    }

    void forget_writes() {
        for (Region& region : all)
            if (region.space == SHARED) std::fill(region.written.begin(), region.written.end(), 0);
    }

    void clear() { all.clear(), by_address.clear(); }

  private:
    std::deque<Region> all;
    std::vector<Region*> by_address;
};

}  // namespace emulator
