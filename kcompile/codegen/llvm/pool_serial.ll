; The pool where there are no threads. pool.py says what the functions mean.
define i64 @kc_pool_size(i32 %threads) { ret i64 64 }
define i32 @kc_pool_threads(ptr %pool) { ret i32 1 }
define i32 @kc_pool_start(ptr %pool, i32 %threads) {
  %many = icmp sgt i32 %threads, 1
  %status = select i1 %many, i32 $NO_THREADS, i32 $OK
  ret i32 %status
}
define void @kc_pool_stop(ptr %pool) { ret void }
define void @kc_parallel(ptr %pool, ptr %fn, ptr %bufs, i64 %n, i64 %extent, i64 %grain,
                         ptr %scratch, i64 %stride) {
  call void %fn(ptr %bufs, i64 %n, i64 0, i64 %extent, ptr %scratch)
  ret void
}
