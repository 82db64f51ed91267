// A stand-in for the NVIDIA driver (libcuda.so.1), for tests on machines without a GPU.
//
// It keeps the driver's books and runs nothing: memory is the host's, a launch is checked and written down. What it checks
// is what a driver would refuse (handles that do not live, a thread without a context, geometry beyond the kernel's
// limits, calls that are forbidden during a capture) and two things that a driver cannot tell: whether each launch is
// ordered behind the one before it, and whether memory or modules are freed while work that uses them may still run.
// Both are decided as if all work took for ever until something waits for it.
//
// A test reads and steers it by the functions of control.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace stand_in {

// Result codes of the driver.
enum Code : int {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NO_BINARY_FOR_GPU = 209,
    UNSUPPORTED_PTX_VERSION = 222,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    FIRST_STICKY = 700,
    LAST_STICKY = 719,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_UNMATCHED = 903,
    CAPTURE_ISOLATION = 905,
    CAPTURE_IMPLICIT = 906,
    CAPTURED_EVENT = 907,
};

// How far into each stream's work something is: stream id -> number of its last piece of work.
using Progress = std::map<uint64_t, uint64_t>;

void join(Progress &into, const Progress &other);

struct Context {
    int device = 0;
    int retained = 0;
};

struct Module;

struct Function {
    std::string name;
    Module *module = nullptr;
    size_t parameter_bytes = 0;
    unsigned static_shared = 0;
    unsigned most_threads = 1024;
    unsigned dynamic_shared = 48 * 1024;
};

struct Module {
    Context *context = nullptr;
    std::vector<std::unique_ptr<Function>> functions;
};

struct Geometry {
    unsigned grid[3];
    unsigned block[3];
    unsigned shared;
};

struct Launch {
    Function *function = nullptr;
    Geometry geometry{};
    std::vector<unsigned char> arguments;
};

struct Graph {
    std::vector<Launch *> nodes;
    ~Graph();
};

struct Exec {
    Context *context = nullptr;
    std::vector<Launch *> nodes;  // handles, of the graph that it was made from
    std::vector<Launch> launches;
};

struct Stream {
    Context *context = nullptr;
    uint64_t id = 0;
    bool blocking = false;  // waits for the default stream, and that for it
    Progress progress;
    std::unique_ptr<Graph> capture;
    bool global_capture = false;
    bool invalidated = false;
};

struct Event {
    Context *context = nullptr;
    bool timing = false;
    bool recorded = false;
    Stream *captured_by = nullptr;
    Progress progress;
    uint64_t when = 0;  // launches given before it
};

struct Memory {
    Context *context = nullptr;
    size_t bytes = 0;
    std::unique_ptr<unsigned char[]> host;
};

// A launch that was given to a stream.
struct Given {
    Context *context;
    const Module *module;
    uint64_t stream;
    uint64_t number;
    std::vector<unsigned char> arguments;
};

// A copy between pinned and device memory that was given to a stream.
struct Copy {
    uint64_t stream;
    uint64_t number;
    uint64_t device;
    uint64_t host;
    size_t bytes;
};

struct State {
    std::recursive_mutex lock;
    std::string log;
    int gpus = 2;
    int cuda_version = 13000;
    int capability = 90;
    uint64_t memory_bytes = 1ull << 30;
    bool initialised = false;
    int sticky = 0;
    std::multimap<std::string, std::pair<int, int>> failures;  // function -> (calls until it fails, code)

    std::vector<std::unique_ptr<Context>> contexts;
    std::map<Context *, Stream *> default_streams;
    std::map<uint64_t, Memory> memory;
    std::map<uint64_t, Memory> pinned;  // of the host
    std::set<Module *> modules;
    std::set<Function *> functions;
    std::set<Stream *> streams;
    std::set<Event *> events;
    std::set<Graph *> graphs;
    std::set<Exec *> execs;
    std::vector<Given> given;
    std::vector<Copy> copies;
    Progress complete;
    uint64_t next_stream_id = 1;
};

State &state();

// One call of the driver: takes the lock, writes the call down, and finds out whether it shall fail.
class Call {
  public:
    Call(const char *name, bool needs_context);
    // The code that the call shall return at once; SUCCESS to go on.
    int refusal() const { return refusal_; }

  private:
    std::lock_guard<std::recursive_mutex> lock_;
    int refusal_;
};

// The thread's current context.
Context *&current();

void note(const std::string &line);
// Writes down what a real driver might have crashed on, and returns the code for it.
int misuse(const std::string &what, int code = INVALID_HANDLE);

// The stream of a handle, also of the default stream's; null if there is none.
Stream *find_stream(void *handle);
// Invalidates captures in progress that forbid such a call. CAPTURE_UNSUPPORTED if there was one.
int forbidden_in_captures();
// Puts one more piece of work on a stream, behind what the stream waits for.
uint64_t add_work(Stream &stream);
// Marks all work up to there as complete.
void complete(const Progress &progress);
bool is_complete(const Given &given);
// Whether work of that number on that stream is complete, or comes before what is given to `stream` now.
bool comes_before(uint64_t of_stream, uint64_t number, const Stream &stream);
bool is_complete(const Copy &copy);
// Puts a copy on a stream. Notes a kernel that uses the device memory and that the copy may overtake.
void copy(Stream &stream, uint64_t device, uint64_t host, size_t bytes);
// Whether the arguments hold an address from `address` to before `end`.
bool mentions(const std::vector<unsigned char> &arguments, uint64_t address, uint64_t end);
// Checks a launch and copies its arguments. `parameters` points at a pointer to the one argument.
int make_launch(void *function, const Geometry &geometry, void **parameters, Launch &launch);
void run(Stream &stream, const Launch &launch, bool in_graph);
std::string describe(const Launch &launch);

// Kernels of a cubin. False if it is none.
bool read_cubin(const unsigned char *image, Module &module, int &architecture);

}  // namespace stand_in

#define DRIVER extern "C" __attribute__((visibility("default"))) int
#define BEGIN_CALL(needs_context)                       \
    stand_in::Call call(__func__, needs_context);       \
    if (call.refusal() != stand_in::SUCCESS) return call.refusal()
// A call that a thread may make only with a context.
#define BEGIN BEGIN_CALL(true)
#define BEGIN_WITHOUT_CONTEXT BEGIN_CALL(false)
