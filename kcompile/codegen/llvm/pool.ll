; The native thread pool: see pool.py, which says how it works and what the words behind `$` are.

$DECLARE_PAUSE
$CLOCK
declare i64 @syscall(i64, ...)
declare i32 @getpid()
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @llvm.umin.i32(i32, i32)
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define i64 @kc_pool_size(i32 %threads) {
  %some = icmp sgt i32 %threads, 1
  %count = select i1 %some, i32 %threads, i32 1
  %wide = zext i32 %count to i64
  %slots = mul i64 %wide, $SLOT_BYTES
  %size = add i64 %slots, $SLOTS
  ret i64 %size
}

define i32 @kc_pool_threads(ptr %pool) {
  %none = icmp eq ptr %pool, null
  br i1 %none, label %alone, label %read
alone:
  ret i32 1
read:
  %threads = load atomic i32, ptr %pool monotonic, align 8
  ret i32 %threads
}

define internal ptr @kc_pool_slot(ptr %pool, i64 %i) alwaysinline {
  %bytes = mul i64 %i, $SLOT_BYTES
  %offset = add i64 %bytes, $SLOTS
  %slot = getelementptr i8, ptr %pool, i64 %offset
  ret ptr %slot
}

define internal void @kc_pool_sleep(ptr %word, i32 %value) noinline {
  call i64 (i64, ...) @syscall(i64 $FUTEX, ptr %word, i32 128, i32 %value, ptr null)
  ret void
}

define internal void @kc_pool_wake(ptr %word, i32 %count) noinline {
  call i64 (i64, ...) @syscall(i64 $FUTEX, ptr %word, i32 129, i32 %count)
  ret void
}

define internal i32 @kc_pool_cpu() noinline {  ; the processor that runs this, or -1
  %cpu = alloca i32, align 4
  store i32 -1, ptr %cpu, align 4
  call i64 (i64, ...) @syscall(i64 $GETCPU, ptr %cpu, ptr null, ptr null)
  %number = load i32, ptr %cpu, align 4
  ret i32 %number
}

define internal i1 @kc_pool_closed(i32 %word) alwaysinline {  ; every chunk has an owner
  %next = and i32 %word, 65535
  %chunks = lshr i32 %word, 16
  %closed = icmp uge i32 %next, %chunks
  ret i1 %closed
}

; One chunk of the job, by a thread. FASTEST keeps the least time of one; the last chunk, which may have
; less to do than others, is kept apart. A kernel may cut more coarsely than asked: then some chunks are
; empty, take no time, and do not count. COUNTED keeps the number of those with work that workers did.
define internal void @kc_pool_chunk(ptr %pool, i32 %chunk, i64 %thread) noinline {
  %job = getelementptr i8, ptr %pool, i64 $JOB
  %fastest = getelementptr i8, ptr %pool, i64 $FASTEST
  %last = getelementptr i8, ptr %pool, i64 $LAST
  %i = zext i32 %chunk to i64
$LOAD_JOB
  %from = mul i64 %extent, %i
  %begin = udiv i64 %from, %chunks
  %next = add i64 %i, 1
  %to = mul i64 %extent, %next
  %end = udiv i64 %to, %chunks
  %offset = mul i64 %stride, %thread
  %mine = getelementptr i8, ptr %scratch, i64 %offset
  %start = call i64 @kc_pool_now()
  call void %fn(ptr %bufs, i64 %n, i64 %begin, i64 %end, ptr %mine)
  %stop = call i64 @kc_pool_now()
  %took = sub i64 %stop, %start
  %time = call i64 @llvm.smax.i64(i64 %took, i64 1)  ; a clock may step back between processors
  %tick.at = getelementptr i8, ptr %pool, i64 $TICK
  %tick = load i64, ptr %tick.at, align 8
  %empty = icmp slt i64 %time, %tick
  br i1 %empty, label %out, label %count
count:
  %is.last = icmp eq i64 %next, %chunks
  %kept = select i1 %is.last, ptr %last, ptr %fastest
  atomicrmw umin ptr %kept, i64 %time monotonic, align 8
  %caller = icmp eq i64 %thread, 0
  br i1 %caller, label %out, label %worked
worked:
  %counted = getelementptr i8, ptr %pool, i64 $COUNTED
  atomicrmw add ptr %counted, i64 1 monotonic, align 8
  br label %out
out:
  ret void
}

; 0: the word has changed. 1: the time is over. 2: others have run on this processor meanwhile.
define internal i32 @kc_pool_spin(ptr %word, i32 %seen, i64 %limit, i64 %tick) noinline {
entry:
  %quiet = mul i64 %tick, $QUIET
  %long = mul i64 %tick, $AWAY
  %start = call i64 @kc_pool_now()
  br label %looks
looks:
  %last = phi i64 [ %start, %entry ], [ %now, %timed ], [ %now, %offer ]
  br label %look
look:
  %k = phi i32 [ 0, %looks ], [ %k.next, %pause ]
  %value = load atomic i32, ptr %word acquire, align 4
  %same = icmp eq i32 %value, %seen
  br i1 %same, label %pause, label %changed
pause:
  $PAUSE
  %k.next = add i32 %k, 1
  %enough = icmp eq i32 %k.next, 128
  br i1 %enough, label %measure, label %look
measure:
  %now = call i64 @kc_pool_now()
  %gap = sub i64 %now, %last
  %away = icmp sgt i64 %gap, %long
  %spent = sub i64 %now, %start
  %over = icmp sgt i64 %spent, %limit
  br i1 %away, label %crowded, label %present
present:
  br i1 %over, label %tired, label %timed
timed:
  %early = icmp slt i64 %spent, %quiet
  br i1 %early, label %looks, label %offer
offer:
  call i64 (i64, ...) @syscall(i64 $YIELD)
  br label %looks
changed:
  ret i32 0
tired:
  ret i32 1
crowded:
  ret i32 2
}

define internal ptr @kc_pool_worker(ptr %slot) {
entry:
  %pool.at = getelementptr i8, ptr %slot, i64 $SLOT_POOL
  %pool = load ptr, ptr %pool.at, align 8
  %index.at = getelementptr i8, ptr %slot, i64 $SLOT_INDEX
  %index = load i64, ptr %index.at, align 8
  %tick.at = getelementptr i8, ptr %pool, i64 $TICK
  %tick = load i64, ptr %tick.at, align 8
  %limit = mul i64 %tick, $SPIN
  %open = getelementptr i8, ptr %pool, i64 $OPEN
  %left = getelementptr i8, ptr %pool, i64 $LEFT
  %epoch = getelementptr i8, ptr %pool, i64 $EPOCH
  %parked = getelementptr i8, ptr %pool, i64 $PARKED
  %cpu.at = getelementptr i8, ptr %pool, i64 $CPU
  br label %look
look:
  %word = load atomic i32, ptr %open acquire, align 4
  %stop = icmp slt i32 %word, 0
  br i1 %stop, label %leave, label %going
going:
  %closed = call i1 @kc_pool_closed(i32 %word)
  br i1 %closed, label %rest, label %claim
claim:
  %next = add i32 %word, 1
  %exchange = cmpxchg ptr %open, i32 %word, i32 %next acq_rel monotonic, align 4
  %mine = extractvalue { i32, i1 } %exchange, 1
  br i1 %mine, label %work, label %look
work:
  %chunk = and i32 %word, 65535
  call void @kc_pool_chunk(ptr %pool, i32 %chunk, i64 %index)
  %had = atomicrmw sub ptr %left, i32 1 acq_rel, align 4
  %awaited = icmp eq i32 %had, -2147483647  ; the last, and the caller sleeps
  br i1 %awaited, label %tell, label %look
tell:
  call void @kc_pool_wake(ptr %left, i32 1)
  br label %look
rest:
  %how = call i32 @kc_pool_spin(ptr %open, i32 %word, i64 %limit, i64 %tick)
  %changed = icmp eq i32 %how, 0
  br i1 %changed, label %look, label %park
park:
  %now = load atomic i32, ptr %epoch seq_cst, align 4
  atomicrmw add ptr %parked, i32 1 seq_cst, align 4
  %again = load atomic i32, ptr %open seq_cst, align 4
  %stopped = icmp slt i32 %again, 0
  %nothing = call i1 @kc_pool_closed(i32 %again)
  %some = xor i1 %nothing, true
  %awake = or i1 %stopped, %some
  br i1 %awake, label %look, label %sleep
sleep:
  call void @kc_pool_sleep(ptr %epoch, i32 %now)
  %here = call i32 @kc_pool_cpu()
  %caller = load atomic i32, ptr %cpu.at monotonic, align 4
  %elsewhere = icmp ne i32 %here, %caller
  br i1 %elsewhere, label %look, label %after
after:                                  ; the caller's processor: it goes on first
  call i64 (i64, ...) @syscall(i64 $YIELD)
  br label %look
leave:
  ret ptr null
}

; Workers are created with all signals blocked: signals belong to the threads of the host program.
define i32 @kc_pool_start(ptr %pool, i32 %threads) {
entry:
  %all = alloca [16 x i64], align 16
  %old = alloca [16 x i64], align 16
  %bytes = call i64 @kc_pool_size(i32 %threads)
  call void @llvm.memset.p0.i64(ptr %pool, i8 0, i64 %bytes, i1 false)
  store i32 1, ptr %pool, align 8
  %pid = call i32 @getpid()
  %pid.at = getelementptr i8, ptr %pool, i64 $PID
  store i32 %pid, ptr %pid.at, align 4
  %frequency = call i64 @kc_pool_frequency()
  %ticks = udiv i64 %frequency, 1000000
  %tick = call i64 @llvm.umax.i64(i64 %ticks, i64 1)
  %tick.at = getelementptr i8, ptr %pool, i64 $TICK
  store i64 %tick, ptr %tick.at, align 8
  %help.at = getelementptr i8, ptr %pool, i64 $HELP
  store i64 1, ptr %help.at, align 8
  %alone = icmp slt i32 %threads, 2
  br i1 %alone, label %good, label %begin
begin:
  call void @llvm.memset.p0.i64(ptr %all, i8 -1, i64 128, i1 false)
  %masked = call i32 @pthread_sigmask(i32 2, ptr %all, ptr %old)
  br label %each
each:
  %i = phi i32 [ 1, %begin ], [ %next, %made ]
  %wide = zext i32 %i to i64
  %slot = call ptr @kc_pool_slot(ptr %pool, i64 %wide)
  %pool.at = getelementptr i8, ptr %slot, i64 $SLOT_POOL
  store ptr %pool, ptr %pool.at, align 8
  %index.at = getelementptr i8, ptr %slot, i64 $SLOT_INDEX
  store i64 %wide, ptr %index.at, align 8
  %thread.at = getelementptr i8, ptr %slot, i64 $SLOT_THREAD
  %failed = call i32 @pthread_create(ptr %thread.at, ptr null, ptr @kc_pool_worker, ptr %slot)
  %ok = icmp eq i32 %failed, 0
  br i1 %ok, label %made, label %finish
made:
  %next = add i32 %i, 1
  store i32 %next, ptr %pool, align 8
  %done = icmp eq i32 %next, %threads
  br i1 %done, label %finish, label %each
finish:
  call i32 @pthread_sigmask(i32 2, ptr %old, ptr null)
  br i1 %ok, label %good, label %bad
good:
  ret i32 $OK
bad:
  call void @kc_pool_stop(ptr %pool)
  ret i32 $NO_THREADS
}

; A stopped pool stays busy: a late caller of kc_parallel runs serially.
define void @kc_pool_stop(ptr %pool) {
entry:
  %none = icmp eq ptr %pool, null
  br i1 %none, label %out, label %check
check:
  %threads = load atomic i32, ptr %pool monotonic, align 8
  %pid.at = getelementptr i8, ptr %pool, i64 $PID
  %pid = load i32, ptr %pid.at, align 4
  %here = call i32 @getpid()
  %same = icmp eq i32 %pid, %here
  %some = icmp sgt i32 %threads, 1
  %stop = and i1 %same, %some
  %busy = getelementptr i8, ptr %pool, i64 $BUSY
  br i1 %stop, label %take, label %out
take:
  %was = atomicrmw xchg ptr %busy, i32 1 acq_rel, align 4
  %free = icmp eq i32 %was, 0
  br i1 %free, label %tell, label %again
again:
  call i64 (i64, ...) @syscall(i64 $YIELD)
  br label %take
tell:
  store atomic i32 1, ptr %pool monotonic, align 8
  %open = getelementptr i8, ptr %pool, i64 $OPEN
  atomicrmw xchg ptr %open, i32 -1 seq_cst, align 4
  %epoch = getelementptr i8, ptr %pool, i64 $EPOCH
  atomicrmw add ptr %epoch, i32 1 seq_cst, align 4
  call void @kc_pool_wake(ptr %epoch, i32 2147483647)
  br label %each
each:
  %i = phi i32 [ 1, %tell ], [ %next, %each ]
  %wide = zext i32 %i to i64
  %slot = call ptr @kc_pool_slot(ptr %pool, i64 %wide)
  %thread.at = getelementptr i8, ptr %slot, i64 $SLOT_THREAD
  %thread = load i64, ptr %thread.at, align 8
  call i32 @pthread_join(i64 %thread, ptr null)
  %next = add i32 %i, 1
  %done = icmp eq i32 %next, %threads
  br i1 %done, label %out, label %each
out:
  ret void
}

; What sharing has cost, in ticks. Called by the thread that holds the pool.
define internal void @kc_pool_lose(ptr %pool, i64 %loss) noinline {
  %tick.at = getelementptr i8, ptr %pool, i64 $TICK
  %tick = load i64, ptr %tick.at, align 8
  %debt.at = getelementptr i8, ptr %pool, i64 $DEBT
  %owed.at = getelementptr i8, ptr %pool, i64 $OWED
  %owed = load i64, ptr %owed.at, align 8
  %longest = mul i64 %tick, $LONGEST
  %lost = call i64 @llvm.smin.i64(i64 %loss, i64 %longest)
  %price = mul i64 %lost, $PRICE
  %sum = add i64 %owed, %price
  %limit = mul i64 %tick, $CREDIT
  %due = call i64 @llvm.smin.i64(i64 %sum, i64 %limit)
  store i64 %due, ptr %owed.at, align 8
  %all = mul i64 %due, $REST
  %one = mul i64 %lost, $REST_OF_ONE
  %debt = call i64 @llvm.smin.i64(i64 %all, i64 %one)  ; below 0: it was saved before
  store i64 %debt, ptr %debt.at, align 8
  ret void
}

define internal void @kc_pool_win(ptr %pool, i64 %won) noinline {
  %tick.at = getelementptr i8, ptr %pool, i64 $TICK
  %tick = load i64, ptr %tick.at, align 8
  %owed.at = getelementptr i8, ptr %pool, i64 $OWED
  %owed = load i64, ptr %owed.at, align 8
  %rest = sub i64 %owed, %won
  %saved = mul i64 %tick, -$SAVED
  %due = call i64 @llvm.smax.i64(i64 %rest, i64 %saved)
  store i64 %due, ptr %owed.at, align 8
  ret void
}

; What the launch has won: the time that workers' chunks would have taken the caller, less the time that the
; caller waited for them. Where the caller itself was held up, that is no loss: it would have been so alone.
define internal void @kc_pool_account(ptr %pool, i64 %elapsed, i64 %waited, i64 %others) noinline {
  %help.at = getelementptr i8, ptr %pool, i64 $HELP
  %help = load i64, ptr %help.at, align 8
  %helped = add i64 %help, %others
  store i64 %helped, ptr %help.at, align 8
  %counted.at = getelementptr i8, ptr %pool, i64 $COUNTED
  %counted = load atomic i64, ptr %counted.at monotonic, align 8
  %idle = icmp eq i64 %counted, 0
  br i1 %idle, label %out, label %weigh
weigh:
  %fastest.at = getelementptr i8, ptr %pool, i64 $FASTEST
  %fastest = load atomic i64, ptr %fastest.at monotonic, align 8
  %saved = mul i64 %fastest, %counted
  %lost = sub i64 %waited, %saved
  %last.at = getelementptr i8, ptr %pool, i64 $LAST
  %last = load atomic i64, ptr %last.at monotonic, align 8
  %least = call i64 @llvm.smin.i64(i64 %fastest, i64 %last)
  %surely = mul i64 %least, %counted
  %noise = ashr i64 %elapsed, 3
  %much = icmp sgt i64 %lost, %noise
  br i1 %much, label %lose, label %check
lose:
  call void @kc_pool_lose(ptr %pool, i64 %lost)
  ret void
check:
  %won = sub i64 %surely, %waited
  %more = icmp sgt i64 %won, 0
  br i1 %more, label %win, label %out
win:
  call void @kc_pool_win(ptr %pool, i64 %won)
  br label %out
out:
  ret void
}

define void @kc_parallel(ptr %pool, ptr %fn, ptr %bufs, i64 %n, i64 %extent, i64 %grain,
                         ptr %scratch, i64 %stride) {
entry:
  %none = icmp eq ptr %pool, null
  br i1 %none, label %serial, label %count
count:
  %threads.32 = load atomic i32, ptr %pool monotonic, align 8
  %threads = zext i32 %threads.32 to i64
  %least = call i64 @llvm.umax.i64(i64 %grain, i64 1)
  %grains = udiv i64 %extent, %least
  %equal = call i64 @llvm.umin.i64(i64 %threads, i64 %grains)
  %few = icmp ult i64 %equal, 2
  br i1 %few, label %serial, label %take
take:
  %busy = getelementptr i8, ptr %pool, i64 $BUSY
  %taken = cmpxchg ptr %busy, i32 0, i32 1 acq_rel monotonic, align 4
  %mine = extractvalue { i32, i1 } %taken, 1
  br i1 %mine, label %judge, label %serial
serial:
  call void %fn(ptr %bufs, i64 %n, i64 0, i64 %extent, ptr %scratch)
  ret void
judge:
  %debt.at = getelementptr i8, ptr %pool, i64 $DEBT
  %before = load i64, ptr %debt.at, align 8
  %owes.before = icmp sgt i64 %before, 0
  br i1 %owes.before, label %alone, label %ask
ask:
  %parked.at = getelementptr i8, ptr %pool, i64 $PARKED
  %parked = load atomic i32, ptr %parked.at monotonic, align 4
  call void @kc_pool_judge(ptr %pool, i32 %parked)
  %after = load i64, ptr %debt.at, align 8
  %owes = icmp sgt i64 %after, 0
  br i1 %owes, label %alone, label %cut
alone:
  %debt = phi i64 [ %before, %judge ], [ %after, %ask ]
  %begin = call i64 @kc_pool_now()
  call void %fn(ptr %bufs, i64 %n, i64 0, i64 %extent, ptr %scratch)
  %end = call i64 @kc_pool_now()
  %spent = sub i64 %end, %begin
  %worked = call i64 @llvm.smax.i64(i64 %spent, i64 1)  ; a clock may step back between processors
  %rest = sub i64 %debt, %worked
  store i64 %rest, ptr %debt.at, align 8
  br label %release
cut:                                    ; finer where workers may come late
  %owed.at = getelementptr i8, ptr %pool, i64 $OWED
  %owed = load i64, ptr %owed.at, align 8
  %paid = icmp sle i64 %owed, 0
  %awake = icmp eq i32 %parked, 0
  %calm = and i1 %paid, %awake
  %pieces = udiv i64 %grains, $FINE_GRAINS
  %most = mul i64 %threads, $FINER
  %finer = call i64 @llvm.umin.i64(i64 %pieces, i64 %most)
  %fine = call i64 @llvm.umax.i64(i64 %finer, i64 %equal)
  %wanted = select i1 %calm, i64 %equal, i64 %fine
  %chunks = call i64 @llvm.umin.i64(i64 %wanted, i64 $MAX_CHUNKS)
  %job = getelementptr i8, ptr %pool, i64 $JOB
$STORE_JOB
  call void @kc_pool_launch(ptr %pool, i64 %chunks)
  br label %release
release:
  store atomic i32 0, ptr %busy release, align 4
  ret void
}

; Before a launch that would wake a worker: the one woken last came too late for every chunk since.
define internal void @kc_pool_judge(ptr %pool, i32 %parked) alwaysinline {
entry:
  %help.at = getelementptr i8, ptr %pool, i64 $HELP
  %helped = load i64, ptr %help.at, align 8
  %none = icmp eq i64 %helped, 0
  %sleeping = icmp ne i32 %parked, 0
  %vain = and i1 %none, %sleeping
  br i1 %vain, label %lose, label %out
lose:
  store i64 1, ptr %help.at, align 8
  %tick.at = getelementptr i8, ptr %pool, i64 $TICK
  %tick = load i64, ptr %tick.at, align 8
  %price = mul i64 %tick, $VAIN
  call void @kc_pool_lose(ptr %pool, i64 %price)
  ret void
out:
  ret void
}

; The caller begins with chunk 0.
define internal void @kc_pool_launch(ptr %pool, i64 %chunks) noinline {
entry:
  %tick.at = getelementptr i8, ptr %pool, i64 $TICK
  %tick = load i64, ptr %tick.at, align 8
  %open = getelementptr i8, ptr %pool, i64 $OPEN
  %left = getelementptr i8, ptr %pool, i64 $LEFT
  %fastest = getelementptr i8, ptr %pool, i64 $FASTEST
  %parked.at = getelementptr i8, ptr %pool, i64 $PARKED
  %count = trunc i64 %chunks to i32
  %last = getelementptr i8, ptr %pool, i64 $LAST
  store atomic i64 9223372036854775807, ptr %fastest monotonic, align 8
  store atomic i64 9223372036854775807, ptr %last monotonic, align 8
  %counted = getelementptr i8, ptr %pool, i64 $COUNTED
  store atomic i64 0, ptr %counted monotonic, align 8
  store atomic i32 %count, ptr %left monotonic, align 4
  %high = shl i32 %count, 16
  %first = or i32 %high, 1
  atomicrmw xchg ptr %open, i32 %first seq_cst, align 4
  %parked = load atomic i32, ptr %parked.at seq_cst, align 4
  %sleepers = icmp ne i32 %parked, 0
  br i1 %sleepers, label %wake, label %begin
wake:
  %others = sub i32 %count, 1
  %woken = call i32 @llvm.umin.i32(i32 %parked, i32 %others)
  atomicrmw sub ptr %parked.at, i32 %woken seq_cst, align 4
  %cpu = call i32 @kc_pool_cpu()
  %cpu.at = getelementptr i8, ptr %pool, i64 $CPU
  store atomic i32 %cpu, ptr %cpu.at monotonic, align 4
  %epoch = getelementptr i8, ptr %pool, i64 $EPOCH
  atomicrmw add ptr %epoch, i32 1 seq_cst, align 4
  call void @kc_pool_wake(ptr %epoch, i32 %woken)
  %help.at = getelementptr i8, ptr %pool, i64 $HELP
  store i64 0, ptr %help.at, align 8
  br label %begin
begin:
  %start = call i64 @kc_pool_now()
  br label %work
work:
  %own = phi i32 [ 0, %begin ], [ %own.next, %claim ]
  %chunk = phi i32 [ 0, %begin ], [ %chunk.next, %claim ]
  call void @kc_pool_chunk(ptr %pool, i32 %chunk, i64 0)
  %own.next = add i32 %own, 1
  br label %look
look:
  %word = load atomic i32, ptr %open monotonic, align 4
  %closed = call i1 @kc_pool_closed(i32 %word)
  br i1 %closed, label %count.left, label %try
try:
  %next = add i32 %word, 1
  %exchange = cmpxchg ptr %open, i32 %word, i32 %next acq_rel monotonic, align 4
  %mine = extractvalue { i32, i1 } %exchange, 1
  br i1 %mine, label %claim, label %look
claim:
  %chunk.next = and i32 %word, 65535
  br label %work
count.left:
  %stop = call i64 @kc_pool_now()
  %had = atomicrmw sub ptr %left, i32 %own.next acq_rel, align 4
  %rest = sub i32 %had, %own.next
  %patience = mul i64 %tick, $PATIENCE
  br label %wait
wait:
  %seen = phi i32 [ %rest, %count.left ], [ %now.left, %again ]
  %none = icmp eq i32 %seen, 0
  br i1 %none, label %done, label %spin
spin:
  %how = call i32 @kc_pool_spin(ptr %left, i32 %seen, i64 %patience, i64 %tick)
  %changed = icmp eq i32 %how, 0
  br i1 %changed, label %again, label %nod
again:
  %now.left = load atomic i32, ptr %left acquire, align 4
  br label %wait
nod:
  %before = atomicrmw or ptr %left, i32 -2147483648 acq_rel, align 4
  br label %doze
doze:
  %value = load atomic i32, ptr %left acquire, align 4
  %unfinished = and i32 %value, 2147483647
  %finished = icmp eq i32 %unfinished, 0
  br i1 %finished, label %done, label %sleep
sleep:
  call void @kc_pool_sleep(ptr %left, i32 %value)
  br label %doze
done:
  %end = call i64 @kc_pool_now()
  %elapsed = sub i64 %end, %start
  %waited = sub i64 %end, %stop
  %own.wide = zext i32 %own.next to i64
  %by.others = sub i64 %chunks, %own.wide
  call void @kc_pool_account(ptr %pool, i64 %elapsed, i64 %waited, i64 %by.others)
  ret void
}
