/* Runs an exported model by the dynamic loader: driver FILE NAME SAMPLES THREADS INPUT... OUTPUT...
   Files of inputs hold raw numbers, files of outputs are written. DRAW in the environment: the last
   argument of the run of a model that draws random numbers. */
#include "library.h"

int main(int argc, char **argv) {
  if (argc < 5 || !(library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL))) {
    fprintf(stderr, "%s\n", argc < 5 ? "arguments" : dlerror());
    return 2;
  }
  model = argv[2];
  int64_t n = atoll(argv[3]);
  int threads = atoi(argv[4]), inputs = ((int (*)(void))function("input_count"))();
  int outputs = ((int (*)(void))function("output_count"))();
  if (argc != 5 + inputs + outputs) return 3;
  const tensor *(*input)(int) = (const tensor *(*)(int))function("input");
  const tensor *(*output)(int) = (const tensor *(*)(int))function("output");
  void *from[16], *to[16];
  for (int i = 0; i < inputs; ++i) {
    size_t size = bytes(input(i), n);
    FILE *file = fopen(argv[5 + i], "rb");
    from[i] = room((int64_t)size + 64);
    if (!file || fread(from[i], 1, size, file) != size) return 4;
    fclose(file);
  }
  for (int i = 0; i < outputs; ++i) to[i] = room((int64_t)bytes(output(i), n) + 64);

  int64_t test = ((int64_t (*)(void))function("selftest_size"))();
  double error = -1;
  int status = ((int (*)(void *, int64_t, double *))function("selftest"))(room(test), test, &error);
  if (status) { fprintf(stderr, "self-test: status %d, error %g\n", status, error); return 5; }

  void *pool = room(((int64_t (*)(int))function("pool_size"))(threads));
  if (((int (*)(void *, int))function("pool_start"))(pool, threads)) return 6;
  int64_t size = ((int64_t (*)(int64_t, int))function("workspace_size"))(n, threads);
  int (*run)(int64_t, void **, void **, void *, int64_t, void *) =
      (int (*)(int64_t, void **, void **, void *, int64_t, void *))function("run");
  void *workspace = room(size);
  int (*run_draw)(int64_t, void **, void **, void *, int64_t, void *, uint64_t) =
      (int (*)(int64_t, void **, void **, void *, int64_t, void *, uint64_t))function("run");
  const char *draw = getenv("DRAW");
  for (int i = 0; i < 20; ++i) {
    status = draw ? run_draw(n, from, to, workspace, size, pool, strtoull(draw, NULL, 10))
                  : run(n, from, to, workspace, size, pool);
    if (status) return 10 + status;
  }
  ((void (*)(void *))function("pool_stop"))(pool);
  for (int i = 0; i < outputs; ++i) {
    FILE *file = fopen(argv[5 + inputs + i], "wb");
    if (!file || fwrite(to[i], 1, bytes(output(i), n), file) != bytes(output(i), n)) return 7;
    fclose(file);
  }
  return 0;
}
