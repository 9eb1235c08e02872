/* The rest of a stand-alone program: arrays come from .npy files or standard input, results go to .npy files or standard
   output. What stands before this text is generated: PROGRAM, VERSION, INPUTS, OUTPUTS, SYMBOLS, STATE_BYTES,
   WEIGHTS_BYTES, arrays, binds, ranges, shape_of, THREADS, arena_bytes, init, call, supported. */

#define MAX_RANK 32
#define ARRAYS (INPUTS + OUTPUTS)

static void fail(const char *path, const char *format, ...) {
    va_list list;
    fprintf(stderr, PROGRAM ": %s%s", path ? path : "", path ? ": " : "");
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    exit(2);
}

static void *allocate(int64_t size) {
    void *p = size < 0 || (uint64_t)size > SIZE_MAX / 2 ? NULL : malloc((size_t)size + 128);
    if (!p) fail(NULL, "no memory for %lld bytes", (long long)size);
    return (void *)(((uintptr_t)p + 63) & ~(uintptr_t)63);
}

static const char *shown(const char *path) { return strcmp(path, "-") ? path : "standard input"; }

static void read_exactly(FILE *file, void *target, int64_t size, const char *path) {
    if (size && fread(target, 1, (size_t)size, file) != (size_t)size) fail(path, "ends too early");
}

/* -- .npy ------------------------------------------------------------------------------------------------------------ */

static const char *after(const char *text, const char *key, const char *path) {
    const char *at = strstr(text, key);
    if (!at) fail(path, "is no .npy file: its head has no %s", key);
    at += strlen(key);
    while (*at == ' ') at++;
    return at;
}

/* Reads one array; its sizes go to shape, which an error describes by the type that is expected. */
static void *read_npy(FILE *file, const char *path, const Array *want, int64_t *shape) {
    unsigned char start[12];
    read_exactly(file, start, 8, path);
    if (memcmp(start, "\x93NUMPY", 6) || start[6] < 1 || start[6] > 3) fail(path, "is no .npy file");
    int wide = start[6] > 1;
    read_exactly(file, start + 8, wide ? 4 : 2, path);
    int64_t size = start[8] | start[9] << 8;
    if (wide) size |= (int64_t)start[10] << 16 | (int64_t)start[11] << 24;
    if (size > 1 << 20) fail(path, "is no .npy file: its head is too long");
    char *head = allocate(size + 1);
    read_exactly(file, head, size, path);
    head[size] = 0;
    const char *descr = after(head, "'descr':", path);
    size_t length = strlen(want->descr);
    if (strncmp(descr, want->descr, length)) {
        fail(path, "element type is %.*s, expected %s (%s: %s)", (int)strcspn(descr, ",}"), descr, want->descr, want->name,
             want->type);
    }
    if (strncmp(after(head, "'fortran_order':", path), "False", 5)) {
        fail(path, "is in column-major order; write it with numpy.ascontiguousarray");
    }
    const char *at = after(head, "'shape':", path);
    int rank = 0;
    int64_t elements = 1;
    if (*at++ != '(') fail(path, "is no .npy file: its shape cannot be read");
    for (;;) {
        while (*at == ' ' || *at == ',') at++;
        if (*at == ')') break;
        char *end;
        long long number = strtoll(at, &end, 10);
        if (end == at || number < 0 || rank == MAX_RANK) fail(path, "is no .npy file: its shape cannot be read");
        if (number && elements > ((int64_t)1 << 56) / number) fail(path, "is too large");
        elements *= number;
        shape[rank++] = number;
        at = end;
    }
    if (rank != want->rank) fail(path, "rank is %d, expected %d (%s: %s)", rank, want->rank, want->name, want->type);
    void *data = allocate(elements * want->size);
    read_exactly(file, data, elements * want->size, path);
    return data;
}

static int write_npy(FILE *file, const Array *array, const int64_t *shape, const void *data) {
    char head[1024];
    int n = snprintf(head + 10, 400, "{'descr': %s, 'fortran_order': False, 'shape': (", array->descr);
    int64_t elements = 1;
    for (int k = 0; k < array->rank; k++) {
        n += snprintf(head + 10 + n, 24, "%lld%s", (long long)shape[k], array->rank == 1 || k + 1 < array->rank ? ", " : "");
        elements *= shape[k];
    }
    if (array->rank == 1) n--; /* (3,) has no space behind its comma */
    n += snprintf(head + 10 + n, 8, "), }");
    while ((10 + n + 1) % 64) head[10 + n++] = ' ';
    head[10 + n++] = '\n';
    memcpy(head, "\x93NUMPY\x01\x00", 8);
    head[8] = (char)(n & 255);
    head[9] = (char)(n >> 8);
    size_t size = (size_t)(elements * array->size);
    return fwrite(head, 1, (size_t)(10 + n), file) == (size_t)(10 + n) && fwrite(data, 1, size, file) == size;
}

/* -- whole files ----------------------------------------------------------------------------------------------------- */

/* Writes beside the file and moves it into place, so that it is as before or complete. */
static void replace_file(const char *path, const Array *array, const int64_t *shape, const void *data, int64_t size) {
    char *part = allocate((int64_t)strlen(path) + 6);
    strcat(strcpy(part, path), ".part");
    FILE *file = fopen(part, "wb");
    if (!file) fail(path, "cannot be written: %s", strerror(errno));
    int good = array ? write_npy(file, array, shape, data) : fwrite(data, 1, (size_t)size, file) == (size_t)size;
    if (fclose(file) || !good) {
        remove(part);
        fail(path, "cannot be written: %s", strerror(errno));
    }
#ifdef _WIN32
    remove(path);
#endif
    if (rename(part, path)) {
        remove(part);
        fail(path, "cannot be written: %s", strerror(errno));
    }
}

static void *read_block(const char *path, int64_t size, const char *what) {
    FILE *file = fopen(path, "rb");
    if (!file) fail(path, "cannot read the %s: %s", what, strerror(errno));
    char *data = allocate(size + 1);
    if (fread(data, 1, (size_t)size + 1, file) != (size_t)size) fail(path, "is not the %s of this program", what);
    fclose(file);
    return data;
}

#if STATE_BYTES
static const char state_head[64] = "NERVURE STATE " STATE_ID "\n";

static void *read_state(const char *path, void *weights) {
    if (path) {
        FILE *there = fopen(path, "rb");
        if (there) {
            fclose(there);
            char *block = read_block(path, STATE_BYTES + 64, "state");
            if (memcmp(block, state_head, 64)) fail(path, "is not the state of this program");
            return block + 64;
        }
    }
    char *block = allocate(STATE_BYTES + 64);
    memcpy(block, state_head, 64);
    if (init(block + 64, weights)) fail(NULL, "the weights are not those of this program");
    return block + 64;
}
#endif

/* -- the command line ------------------------------------------------------------------------------------------------ */

static void usage(void) {
    printf("usage: " PROGRAM " [INPUT.npy ...] [-o OUTPUT.npy ...]%s%s%s\n\n", STATE_BYTES ? " [--state FILE]" : "",
           WEIGHTS_BYTES ? " [--weights FILE]" : "", THREADS ? " [--threads N]" : "");
    puts("Inputs, in order; - is standard input, and so is all of it where none is given:");
    for (int k = 0; k < INPUTS; k++) printf("  %-12s %s\n", arrays[k].name, arrays[k].type);
    puts("Results, in order; - is standard output, and so is all of it where none is given:");
    for (int k = INPUTS; k < ARRAYS; k++) printf("  %-12s %s\n", arrays[k].name, arrays[k].type);
    for (int k = 0; k < SYMBOLS; k++) {
        printf("%s is %lld to %lld.\n", binds[k].name, (long long)binds[k].lo, (long long)binds[k].hi);
    }
    if (STATE_BYTES) puts("The state is read from --state FILE where it is there, and written back after the run.");
    if (WEIGHTS_BYTES) puts("The weights are read from --weights FILE, " PROGRAM ".weights otherwise.");
    if (THREADS) puts("--threads is 1 to 256, one a processor if not given; results are the same for any.");
    puts("Made by nervure " VERSION ".");
}

static const char *value_of(int argc, char **argv, int *k) {
    if (*k + 1 >= argc) fail(NULL, "%s wants a value", argv[*k]);
    return argv[++*k];
}

static const char *reason(int32_t code) {
    static const char *reasons[] = {"", "a pointer is null", "a size is outside its range", "the arena is too small",
                                    "memory is misaligned", "the weights are not those of this program",
                                    "an index in an input is outside its range"};
    return code > 0 && code < 7 ? reasons[code] : "a check of the program failed";
}

static long processors(void) {
#if THREADS && defined(_SC_NPROCESSORS_ONLN)
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > 256 ? 256 : count;
#else
    return 1;
#endif
}

int main(int argc, char **argv) {
    const char *ins[INPUTS + 1] = {0}, *outs[OUTPUTS + 1] = {0}, *state_path = NULL, *weights_path = PROGRAM ".weights";
    int given = 0, targets = 0;
    long threads = processors();
    for (int k = 1; k < argc; k++) {
        if (!strcmp(argv[k], "--help") || !strcmp(argv[k], "-h")) return usage(), 0;
        if (!strcmp(argv[k], "--version")) return puts(PROGRAM ", made by nervure " VERSION), 0;
        if (!strcmp(argv[k], "-o")) {
            const char *path = value_of(argc, argv, &k);
            if (targets == OUTPUTS) fail(NULL, "%d results, more -o than that", OUTPUTS);
            outs[targets++] = path;
        } else if (STATE_BYTES && !strcmp(argv[k], "--state")) {
            state_path = value_of(argc, argv, &k);
        } else if (WEIGHTS_BYTES && !strcmp(argv[k], "--weights")) {
            weights_path = value_of(argc, argv, &k);
        } else if (THREADS && !strcmp(argv[k], "--threads")) {
            char *end;
            const char *text = value_of(argc, argv, &k);
            threads = strtol(text, &end, 10);
            if (*end || end == text || threads < 1 || threads > 256) fail(NULL, "--threads is %s, expected 1 to 256", text);
        } else if (argv[k][0] == '-' && argv[k][1]) {
            fail(NULL, "no option is named %s; --help lists them", argv[k]);
        } else {
            if (given == INPUTS) fail(argv[k], "%d inputs are expected, this is one more", INPUTS);
            ins[given++] = argv[k];
        }
    }
    if (given && given != INPUTS) fail(NULL, "expected %d inputs, got %d; --help lists them", INPUTS, given);
    if (targets && targets != OUTPUTS) fail(NULL, "expected %d times -o, got %d", OUTPUTS, targets);
    if (!supported()) fail(NULL, "this CPU lacks instructions that the program was built with");
#ifdef _WIN32
    _setmode(_fileno(stdin), _O_BINARY);
    _setmode(_fileno(stdout), _O_BINARY);
#endif

    int64_t shapes[ARRAYS + 1][MAX_RANK], wanted[MAX_RANK], dims[SYMBOLS + 1] = {0};
    void *data[ARRAYS + 1] = {0};
    for (int k = 0; k < INPUTS; k++) {
        const char *path = ins[k] ? ins[k] : "-";
        FILE *file = strcmp(path, "-") ? fopen(path, "rb") : stdin;
        if (!file) fail(path, "cannot be read: %s", strerror(errno));
        data[k] = read_npy(file, shown(path), &arrays[k], shapes[k]);
        if (file != stdin) fclose(file);
    }
    for (int k = 0; k < SYMBOLS; k++) {
        const Bind *b = &binds[k];
        dims[k] = shapes[b->input][b->axis];
        if (dims[k] < b->lo || dims[k] > b->hi) {
            fail(ins[b->input] ? shown(ins[b->input]) : "standard input", "axis %d is %lld, but %s is %lld..%lld (%s: %s)", b->axis,
                 (long long)dims[k], b->name, (long long)b->lo, (long long)b->hi, arrays[b->input].name, arrays[b->input].type);
        }
    }
    for (int k = 0; k < INPUTS; k++) {
        shape_of(k, dims, wanted);
        for (int axis = 0; axis < arrays[k].rank; axis++) {
            if (wanted[axis] != shapes[k][axis]) {
                fail(ins[k] ? shown(ins[k]) : "standard input", "axis %d is %lld, expected %lld (%s: %s)", axis,
                     (long long)shapes[k][axis], (long long)wanted[axis], arrays[k].name, arrays[k].type);
            }
        }
    }
    for (int k = INPUTS; k < ARRAYS; k++) {
        int64_t elements = 1;
        shape_of(k, dims, shapes[k]);
        for (int axis = 0; axis < arrays[k].rank; axis++) elements *= shapes[k][axis];
        data[k] = allocate(elements * arrays[k].size);
    }

    void *weights = WEIGHTS_BYTES ? read_block(weights_path, WEIGHTS_BYTES, "weights") : NULL;
    void *state = NULL;
#if STATE_BYTES
    state = read_state(state_path, weights);
#endif
    int64_t size = arena_bytes(dims);
    int32_t code = call(data, dims, weights, state, allocate(size), size, (int32_t)threads);
    if (code) fail(NULL, "%s", reason(code));

    int good = 1;
    for (int k = 0; k < OUTPUTS; k++) {
        if (outs[k] && strcmp(outs[k], "-")) {
            replace_file(outs[k], &arrays[INPUTS + k], shapes[INPUTS + k], data[INPUTS + k], 0);
        } else {
            good &= write_npy(stdout, &arrays[INPUTS + k], shapes[INPUTS + k], data[INPUTS + k]);
        }
    }
    if (fflush(stdout) || !good) fail(NULL, "standard output cannot be written: %s", strerror(errno));
#if STATE_BYTES
    if (state_path) replace_file(state_path, NULL, NULL, (char *)state - 64, STATE_BYTES + 64);
#endif
    return 0;
}
