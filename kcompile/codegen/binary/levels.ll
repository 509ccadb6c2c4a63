; Which of several levels of x86-64 this processor has. levels.py says how the bits are found.
@kc_picked = internal global i32 -1, align 4

; void (ptr words, i32 leaf, i32 subleaf): the four words that the instruction cpuid gives
define internal void @kc_cpuid(ptr %words, i32 %leaf, i32 %subleaf) noinline prologue [$CPUID_BYTES x i8] c"$CPUID" {
  ret void
}
; i32 (): the registers that the system keeps, as the instruction xgetbv gives them
define internal i32 @kc_xgetbv() noinline prologue [$XGETBV_BYTES x i8] c"$XGETBV" {
  ret i32 0
}

; A word of a leaf, 0 where the processor does not have the leaf: %range is 0, or 1 << 31.
define internal i32 @kc_feature_word(i32 %range, i32 %leaf, i32 %number) noinline {
entry:
  %words = alloca [4 x i32], align 16
  call void @kc_cpuid(ptr %words, i32 %range, i32 0)
  %most = load i32, ptr %words, align 16
  %there = icmp uge i32 %most, %leaf
  br i1 %there, label %ask, label %none
none:
  ret i32 0
ask:
  call void @kc_cpuid(ptr %words, i32 %leaf, i32 0)
  %at = getelementptr i32, ptr %words, i32 %number
  %word = load i32, ptr %at, align 4
  ret i32 %word
}

; The number of the best level, from 0. Asked once: all threads find the same.
define internal i32 @kc_level() noinline {
entry:
  %known = load atomic i32, ptr @kc_picked monotonic, align 4
  %fresh = icmp slt i32 %known, 0
  br i1 %fresh, label %ask, label %done
done:
  ret i32 %known
ask:
$WORDS
  %saves = and i32 %word.0, $OSXSAVE
  %has.saves = icmp ne i32 %saves, 0
  br i1 %has.saves, label %kept, label %judge
kept:
  %registers = call i32 @kc_xgetbv()
  br label %judge
judge:
  %saved = phi i32 [ 0, %ask ], [ %registers, %kept ]
$LEVELS
  store atomic i32 $BEST, ptr @kc_picked monotonic, align 4
  ret i32 $BEST
}

$CHOICES
