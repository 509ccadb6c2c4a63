/* An exported model, opened by the dynamic loader: its functions, and memory for its arrays. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const char *name;
  int32_t dtype, rank;
  int64_t fixed[8], per_sample[8];
} tensor;

static void *library;
static const char *model;

static void *function(const char *name) {
  char full[256];
  snprintf(full, sizeof full, "kc_%s_%s", model, name);
  void *found = dlsym(library, full);
  if (!found) { fprintf(stderr, "no function %s\n", full); exit(2); }
  return found;
}

static size_t bytes(const tensor *t, int64_t n) {
  static const size_t width[] = {0, 4, 8, 4, 8, 4, 1, 1, 1, 2, 2, 8};
  size_t size = width[t->dtype];
  for (int i = 0; i < t->rank; ++i) size *= (size_t)(t->fixed[i] + n * t->per_sample[i]);
  return size;
}

static void *room(int64_t size) { return aligned_alloc(64, (size_t)(size + 63) / 64 * 64); }
