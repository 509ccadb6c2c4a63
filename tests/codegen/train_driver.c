/* Trains an exported model by the dynamic loader: train_driver FILE NAME SAMPLES STEPS THREADS INPUT... STATE Y
   There is a file of raw numbers for each input of a step, "-" for NULL. Writes the tensors of the state, one
   after the other, to STATE, and to Y what the model then predicts for the first input; prints the losses. */
#include "library.h"

typedef int64_t (*size_of)(int64_t, int);
typedef int (*call)(int64_t, const void *const *, void *const *, void *, void *, int64_t, void *);
typedef const tensor *(*described)(int);

int main(int argc, char **argv) {
  if (argc < 6 || !(library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL))) {
    fprintf(stderr, "%s\n", argc < 6 ? "arguments" : dlerror());
    return 2;
  }
  model = argv[2];
  int64_t n = atoll(argv[3]);
  int steps = atoi(argv[4]), threads = atoi(argv[5]);
  int inputs = ((int (*)(void))function("train_input_count"))();
  if (argc != 8 + inputs) return 3;
  described input = (described)function("train_input"), result = (described)function("train_output");
  described output = (described)function("output"), state_tensor = (described)function("state");
  const void *from[16];
  for (int i = 0; i < inputs; ++i) {
    from[i] = NULL;
    if (!strcmp(argv[6 + i], "-")) continue;
    size_t size = bytes(input(i), n);
    FILE *file = fopen(argv[6 + i], "rb");
    void *array = room((int64_t)size + 64);
    if (!file || fread(array, 1, size, file) != size) return 4;
    fclose(file);
    from[i] = array;
  }

  int64_t test = ((int64_t (*)(void))function("train_selftest_size"))();
  double error = -1;
  int status = ((int (*)(void *, int64_t, double *))function("train_selftest"))(room(test), test, &error);
  if (status) { fprintf(stderr, "self-test: %d, %g\n", status, error); return 5; }

  char *pool = NULL;
  if (threads > 1) {
    pool = room(((int64_t (*)(int))function("pool_size"))(threads));
    if (((int (*)(void *, int))function("pool_start"))(pool, threads)) return 6;
  }
  int64_t size = ((int64_t (*)(void))function("state_size"))();
  char *state = room(size);
  int (*init)(void *, int64_t) = (int (*)(void *, int64_t))function("state_init");
  call train = (call)function("train"), predict = (call)function("state_run");
  int64_t work = ((size_of)function("train_workspace_size"))(n, threads);
  void *workspace = room(work), *results = room((int64_t)bytes(result(0), n)), *to[] = {results};
  memset(state, 1, (size_t)size);
  if (train(n, from, to, state, workspace, work, pool) != 8 || init(state, size - 1) != 2) return 7;
  if (init(state + 8, size) != 8 || init(NULL, size) != 1 || init(state, size)) return 8;
  if (train(n, from, to, state, workspace, work - 1, pool) != 2) return 9;
  for (int k = 0; k < steps; ++k) {
    status = train(n, from, to, state, workspace, work, pool);
    if (status) { fprintf(stderr, "step %d: %d\n", k, status); return 10; }
    printf("%.9g\n", ((float *)results)[0]);
  }

  FILE *file = fopen(argv[6 + inputs], "wb");
  int count = ((int (*)(void))function("state_count"))();
  int64_t (*offset)(int) = (int64_t (*)(int))function("state_offset");
  for (int i = 0; i < count; ++i) fwrite(state + offset(i), 1, bytes(state_tensor(i), 1), file);
  fclose(file);
  if (state_tensor(count) || state_tensor(-1) || offset(count) != -1) return 11;

  work = ((size_of)function("state_workspace_size"))(n, threads);
  void *y = room((int64_t)bytes(output(0), n)), *again[] = {y};
  char *moved = room(size); /* to other memory, once before and once after predicting */
  memcpy(moved, state, (size_t)size);
  for (int k = 0; k < 2; ++k) {
    status = predict(n, from, again, k ? state : moved, room(work), work, pool);
    if (status) { fprintf(stderr, "predict: %d\n", status); return 12; }
    memcpy(state, moved, (size_t)size);
  }
  file = fopen(argv[7 + inputs], "wb");
  fwrite(y, 1, bytes(output(0), n), file);
  fclose(file);
  if (pool) ((void (*)(void *))function("pool_stop"))(pool);
  return 0;
}
