// Threads that share a launch's blocks among them: the caller's own, and workers that wait for work.
//
// Which thread computes a block changes nothing: no two blocks write the same number. Workers look for work for a
// moment before they sleep, as in a network one launch follows the other.
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#ifndef _WIN32
#include <pthread.h>
#endif

struct Launch {  // as in cuda.hpp
    unsigned grid[3], block[3];
    long long blocks, threads;
};
typedef void (*Call)(const Launch* launch, long long first, long long last);

namespace {

constexpr int LOOKS = 20000;  // how often a worker looks for work before it sleeps: some 200 microseconds
constexpr int TURNS = 4;     // of each thread, in a launch: they end at about the same time then

struct Work {
    Call call;
    const Launch* launch;
    long long turn;                    // blocks that a thread takes at a time
    std::atomic<long long> next{0};    // the first block that nobody has begun
    std::atomic<int> inside{0};        // workers that are at it

    void take() {
        for (;;) {
            const long long first = next.fetch_add(turn), blocks = launch->blocks;
            if (first >= blocks) return;
            call(launch, first, first + turn < blocks ? first + turn : blocks);
        }
    }
};

struct Pool {
    std::mutex lock;                       // of what follows
    std::condition_variable waiting;
    std::atomic<long long> number{0};      // of the work there is
    Work* work = nullptr;
    int sleeping = 0, workers = 0;
    std::mutex turn;                       // whose work it is

    void serve() {
        for (long long done = 0;;) {
            for (int look = 0; look < LOOKS && number.load(std::memory_order_relaxed) == done; look++)
                if (look % 64 == 63) std::this_thread::yield();
            Work* mine;
            {
                std::unique_lock<std::mutex> held(lock);
                sleeping++;
                waiting.wait(held, [&] { return number != done; });
                sleeping--;
                done = number, mine = work;
                if (mine) mine->inside++;
            }
            if (!mine) continue;  // others have done it
            mine->take();
            mine->inside.fetch_sub(1, std::memory_order_release);
        }
    }

    void run(Work& given, int threads) {
        std::unique_lock<std::mutex> mine(turn, std::try_to_lock);
        if (!mine) return given.take();  // another launch has the workers
        bool wake;
        {
            std::lock_guard<std::mutex> held(lock);
            for (; workers < threads - 1; workers++) std::thread([this] { serve(); }).detach();
            work = &given, number++;
            wake = sleeping > 0;
        }
        if (wake) waiting.notify_all();
        given.take();
        {
            std::lock_guard<std::mutex> held(lock);
            work = nullptr;  // whoever comes now comes too late
        }
        while (given.inside.load(std::memory_order_acquire)) std::this_thread::yield();
    }
};

Pool* pool = new Pool;  // never deleted: its threads live as long as the process

// A forked child has none of its parent's threads. Its parent's pool, which may be locked, is left alone.
#ifndef _WIN32
const int registered = pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });
#endif

}  // namespace

extern "C" __attribute__((visibility("default"))) void minidl_share(Call call, const Launch* launch) {
    const long long blocks = launch->blocks, threads = launch->threads;
    if (threads < 2 || blocks < 2) return call(launch, 0, blocks);
    const long long turns = threads * TURNS;
    Work work{call, launch, (blocks + turns - 1) / turns};
    pool->run(work, int(threads));
}
