/* Takes back the names that base/vector_lanes.h lent. No include guard, as there. */
#undef load
#undef store
#undef load_part
#undef store_part
#undef sum_lanes
#undef max_lanes
#undef all
#undef larger
#undef at_least
#undef at_most
#undef vector_exp
#undef Vector
#undef Integers
#undef INLINE
#undef WIDTH
#undef NAME
