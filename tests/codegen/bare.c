/* Runs an exported model on a microcontroller without an operating system, and with semihosting: files and
   arguments are those of who emulates it. Compiled with -include of the model's header, -DMODEL=its name.
   Arguments: SAMPLES INPUT... OUTPUT... of files with raw numbers, as of driver.c. -DDRAW: the last argument
   of the run of a model that draws random numbers. */
#include <stddef.h>

#define JOIN(a, b, c) a##b##c
#define NAME(a, b, c) JOIN(a, b, c)
#define OF(name) NAME(kc_, MODEL, _##name)

extern uint32_t stack_top[];
int main(void);
void _start(void) {
  *(volatile uint32_t *)0xE000ED88 |= 0xF << 20; /* CPACR: the floating-point unit, where there is one */
  __asm__ volatile("dsb\n isb");
  main();
}
static void stuck(void);
__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    stack_top, (void *)_start, (void *)stuck, (void *)stuck, (void *)stuck, (void *)stuck, (void *)stuck,
};

static int call(int operation, const void *block) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = block;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}
static void leave(int status) {
  uint32_t block[2] = {0x20026, (uint32_t)status};
  call(0x20, block);
}
static void stuck(void) { leave(99); }

static char line[4096];
static unsigned char memory[3 << 20] __attribute__((aligned(64)));
static size_t used;
static void *room(int64_t size) {
  void *found = memory + used;
  used += (size_t)(size + 63) / 64 * 64;
  if (used > sizeof memory) leave(98);
  return found;
}

static size_t length(const char *text) {
  size_t n = 0;
  while (text[n]) ++n;
  return n;
}
static void transfer(const char *path, int mode, int operation, void *data, size_t size) {
  uint32_t open[3] = {(uint32_t)path, (uint32_t)mode, length(path)};
  int file = call(1, open);
  uint32_t block[3] = {(uint32_t)file, (uint32_t)data, size};
  if (file < 0 || call(operation, block)) leave(4);
  call(2, block);
}

static size_t bytes(const kc_tensor *t, int64_t n) {
  static const size_t width[] = {0, 4, 8, 4, 8, 4, 1, 1, 1, 2, 2, 8};
  size_t size = width[t->dtype];
  for (int i = 0; i < t->rank; ++i) size *= (size_t)(t->fixed[i] + n * t->per_sample[i]);
  return size;
}

int main(void) {
  uint32_t block[2] = {(uint32_t)line, sizeof line};
  call(0x15, block);
  char *words[64];
  int count = 0;
  for (char *at = line; *at && count < 64;) {
    while (*at == ' ') *at++ = 0;
    if (*at) words[count++] = at;
    while (*at && *at != ' ') ++at;
  }
  int64_t n = 0;
  for (const char *digit = words[1]; *digit; ++digit) n = 10 * n + (*digit - '0');
  int inputs = OF(input_count)(), outputs = OF(output_count)();
  if (count != 2 + inputs + outputs || OF(abi)() != KC_ARTIFACT_TYPES) leave(3);
  const void *from[16];
  void *to[16];
  for (int i = 0; i < inputs; ++i) {
    size_t size = bytes(OF(input)(i), n);
    void *array = room((int64_t)size);
    transfer(words[2 + i], 1, 6, array, size);
    from[i] = array;
  }
  for (int i = 0; i < outputs; ++i) to[i] = room((int64_t)bytes(OF(output)(i), n));
  double error = -1;
  int64_t test = OF(selftest_size)(), size = OF(workspace_size)(n, 1);
  if (OF(selftest)(room(test), test, &error)) leave(5);
  if (OF(pool_start)(room(OF(pool_size)(2)), 2) != KC_NO_THREADS || OF(workspace_size)(0, 1)) leave(6);
#ifdef TRAIN
  test = OF(train_selftest_size)();
  if (OF(train_selftest)(room(test), test, &error)) leave(8);
#endif
  void *workspace = room(size);
  if (OF(run)(n, from, to, workspace, size - 1, NULL DRAW) != KC_SHORT_WORKSPACE) leave(7);
  for (int i = 0; i < 2; ++i) {
    int status = OF(run)(n, from, to, workspace, size, NULL DRAW);
    if (status) leave(10 + status);
  }
  for (int i = 0; i < outputs; ++i) transfer(words[2 + inputs + i], 5, 5, to[i], bytes(OF(output)(i), n));
  leave(0);
  return 0;
}
