/* A libcuda.so.1 whose functions are found by the process that loaded it: the package cuda-bindings asks
 * for each function by name, and the answer comes from `kc_find`, which is set before. */
typedef void *(*finder)(const char *name);

finder kc_find;

int cuGetProcAddress_v2(const char *name, void **function, int version, unsigned long long flags,
                        int *found) {
    *function = kc_find(name);
    if (found)
        *found = *function ? 0 : 1;
    return *function ? 0 : 500;
}

int cuGetProcAddress(const char *name, void **function, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(name, function, version, flags, 0);
}
