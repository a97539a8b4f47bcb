// A program that runs one launch: what ThreadSanitizer and AddressSanitizer need, since they want a process of
// their own. minidl/cuda/emulator/sanitize.py starts it with a folder's name.
//
//     folder/job      a line "kernel grid block shared", then the arguments: each a line, then its bytes
//                         array name bytes      value name bytes      same name number (an array given before)
//     folder/map      written: where the arguments and the __shared__ variables lie; "failed" and a message
//     folder/result   written: the arrays' bytes afterwards, in the order of the arguments
//
// Each array gets memory of its own, of exactly its size: what lies beyond belongs to nobody.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "runtime.hpp"

extern "C" const char* minidl_error();
extern "C" int minidl_run(void (*call)(void**), void** values, const unsigned* grid, const unsigned* block, int shared,
                          long long first, long long last);

namespace {

FILE* map;
std::set<const void*> noted;

struct Argument {
    char kind[8], name[128];
    size_t size;  // of one given before: its number
    void* memory;
};

[[noreturn]] void give_up(const char* why) {
    fprintf(stderr, "alone.cpp: %s\n", why);
    exit(2);
}

FILE* open(const std::string& path, const char* how) {
    FILE* file = fopen(path.c_str(), how);
    if (!file) give_up(path.c_str());
    return file;
}

void note(const char* kind, const char* name, const void* address, size_t size) {
    fprintf(map, "%s %s %zu %zu\n", kind, name, reinterpret_cast<size_t>(address), size);
    fflush(map);  // the run may end at any time
}

Argument read_argument(FILE* job, const std::vector<Argument>& before) {
    Argument argument;
    if (fscanf(job, "%7s %127s %zu", argument.kind, argument.name, &argument.size) != 3 || fgetc(job) != '\n')
        give_up("an argument's line is wrong");
    if (argument.kind[0] == 's') {
        argument.memory = before.at(argument.size).memory;
        return argument;
    }
    if (posix_memalign(&argument.memory, 256, argument.size)) give_up("out of memory");
    if (fread(argument.memory, 1, argument.size, job) != argument.size) give_up("an argument is cut short");
    if (argument.kind[0] == 'a') note("array", argument.name, argument.memory, argument.size);
    return argument;
}

}  // namespace

namespace emulator {

void watch_shared(const void* address, size_t size, const char* name) {
    if (noted.insert(address).second) note("shared", name, address, size);
}

}  // namespace emulator

// AddressSanitizer calls this ahead of a report, which knows no CUDA threads.
extern "C" __attribute__((visibility("default"))) void __asan_on_error() {
    using namespace emulator;
    if (current)
        fprintf(stderr, "CUDA thread (%u, %u, %u) of block (%u, %u, %u)\n", current->index.x, current->index.y,
                current->index.z, block_index.x, block_index.y, block_index.z);
}

int main(int, char** words) {
    const std::string folder = words[1];
    FILE* job = open(folder + "/job", "rb");
    map = open(folder + "/map", "w");

    char kernel[256];
    unsigned grid[3], block[3];
    int shared;
    if (fscanf(job, "%255s %u %u %u %u %u %u %d", kernel, &grid[0], &grid[1], &grid[2], &block[0], &block[1], &block[2],
               &shared) != 8 || fgetc(job) != '\n')
        give_up("the launch's line is wrong");
    std::vector<Argument> arguments;
    for (int c; (c = fgetc(job)) != EOF;) {
        ungetc(c, job);
        arguments.push_back(read_argument(job, arguments));
    }
    fclose(job);

    std::vector<void*> values;
    for (Argument& argument : arguments)  // of an array, the kernel takes the address
        values.push_back(argument.kind[0] == 'v' ? argument.memory : &argument.memory);
    void* call = dlsym(RTLD_DEFAULT, (std::string("minidl_call_") + kernel).c_str());
    if (!call) give_up("no such kernel");
    const long long blocks = (long long)grid[0] * grid[1] * grid[2];
    const int failed = minidl_run(reinterpret_cast<void (*)(void**)>(call), values.data(), grid, block, shared, 0, blocks);

    if (failed) fprintf(map, "failed\n%s\n", minidl_error());
    fclose(map);
    FILE* result = open(folder + "/result", "wb");
    for (const Argument& argument : arguments)
        if (argument.kind[0] == 'a') fwrite(argument.memory, 1, argument.size, result);
    fclose(result);
    fflush(stdout);
    _exit(0);  // what destructors do is no business of the sanitizer's
}
