/* How long a process takes to its first prediction, and a later one: start FILE NAME. Prints microseconds from
   the start of `main` to the end of the first prediction of one sample (loading the library is part of it), and of
   a later one. */
#include <time.h>

#include "../tests/codegen/library.h"

static void *array(const tensor *t) {
  size_t size = bytes(t, 1) + 64;
  return memset(room((int64_t)size), 0, size);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec * 1e-3;
}

int main(int argc, char **argv) {
  double begin = now();
  if (argc != 3 || !(library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL))) return 1;
  model = argv[2];
  void *from[16], *to[16];
  for (int i = 0; i < ((int (*)(void))function("input_count"))(); ++i)
    from[i] = array(((const tensor *(*)(int))function("input"))(i));
  for (int i = 0; i < ((int (*)(void))function("output_count"))(); ++i)
    to[i] = array(((const tensor *(*)(int))function("output"))(i));
  int64_t size = ((int64_t (*)(int64_t, int))function("workspace_size"))(1, 1);
  void *workspace = room(size);
  int (*run)(int64_t, void **, void **, void *, int64_t, void *) =
      (int (*)(int64_t, void **, void **, void *, int64_t, void *))function("run");
  if (run(1, from, to, workspace, size, NULL)) return 3;
  double first = now() - begin, best = 1e30;
  double stop = now() + 2e5;
  for (int calls = 1; now() < stop; calls = calls < 1000 ? calls * 2 : calls) {
    double start = now();
    for (int i = 0; i < calls; ++i) run(1, from, to, workspace, size, NULL);
    double each = (now() - start) / calls;
    if (each < best) best = each;
  }
  printf("%.3f %.4f\n", first, best);
  return 0;
}
