; A part of kc_gather: rows of $W bytes or more, in pieces of so many. The last piece of a row ends where the
; row ends, and overlaps the one before.
try$W:
  %fits$W = icmp uge i64 %bytes, $W
  br i1 %fits$W, label %copy$W, label %$OTHER
copy$W:
  %last$W = sub i64 %bytes, $W
  br label %row$W
row$W:
  %i$W = phi i64 [ %begin, %copy$W ], [ %next$W, %done$W ]
  %at.index$W = getelementptr i64, ptr %order, i64 %i$W
  %index$W = load i64, ptr %at.index$W, align 8
  %from$W = mul i64 %index$W, %bytes
  %to$W = mul i64 %i$W, %bytes
  %in$W = getelementptr i8, ptr %source, i64 %from$W
  %out$W = getelementptr i8, ptr %buffer, i64 %to$W
  br label %piece$W
piece$W:
  %p$W = phi i64 [ 0, %row$W ], [ %more$W, %piece$W ]
  %at$W = call i64 @llvm.umin.i64(i64 %p$W, i64 %last$W)
  %read$W = getelementptr i8, ptr %in$W, i64 %at$W
  %data$W = load <$W x i8>, ptr %read$W, align 1
  %write$W = getelementptr i8, ptr %out$W, i64 %at$W
  store <$W x i8> %data$W, ptr %write$W, align 1
  %more$W = add i64 %p$W, $W
  %whole$W = icmp uge i64 %more$W, %bytes
  br i1 %whole$W, label %done$W, label %piece$W
done$W:
  %next$W = add i64 %i$W, 1
  %again$W = icmp slt i64 %next$W, %end
  br i1 %again$W, label %row$W, label %leave
