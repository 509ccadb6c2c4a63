/* Predict with an exported model from C; export_c.py writes digits.so and digits.h beside it.

     cc -std=c11 -I DIR predict.c DIR/digits.so -Wl,-rpath,DIR -pthread -o predict
     ./predict < images > classes

   Images are 64 float32 each, row by row; a class and its probability are printed for each. */
#include <stdio.h>
#include <stdlib.h>

#include "digits.h"

enum { PIXELS = KC_DIGITS_INPUT_0_ELEMENTS_PER_SAMPLE,
       CLASSES = KC_DIGITS_OUTPUT_0_ELEMENTS_PER_SAMPLE,
       BATCH = 256, THREADS = 2 };

static void *room(int64_t size) { return aligned_alloc(64, (size_t)(size + 63) / 64 * 64); }

int main(void) {
  static float images[BATCH * PIXELS], probabilities[BATCH * CLASSES];
  const void *inputs[] = {images};
  void *outputs[] = {probabilities};

  if (kc_digits_abi() != KC_ARTIFACT_TYPES) {
    fputs("digits.h and digits.so are of different versions\n", stderr);
    return 1;
  }
  /* All memory is the caller's, taken once. */
  int64_t size = kc_digits_workspace_size(BATCH, THREADS), test = kc_digits_selftest_size();
  void *workspace = room(size > test ? size : test), *pool = room(kc_digits_pool_size(THREADS));
  if (!workspace || !pool || kc_digits_selftest(workspace, test, NULL) != KC_OK) {
    fputs("the model does not compute what it computed when it was exported\n", stderr);
    return 1;
  }
  if (kc_digits_pool_start(pool, THREADS) != KC_OK) pool = NULL; /* one thread, then */

  size_t n;
  while ((n = fread(images, sizeof *images * PIXELS, BATCH, stdin)) > 0) {
    if (kc_digits_run((int64_t)n, inputs, outputs, workspace, size, pool) != KC_OK) return 1;
    for (size_t i = 0; i < n; ++i) {
      const float *p = probabilities + i * CLASSES;
      int best = 0;
      for (int c = 1; c < CLASSES; ++c)
        if (p[c] > p[best]) best = c;
      printf("%d %.6f\n", best, p[best]);
    }
  }
  kc_digits_pool_stop(pool);
  return 0;
}
