/* Put before every file of jemalloc by .cargo/config.toml: eight size classes for each doubling instead of four. A
 * block of any size then wastes an eighth at most, not a quarter. jemalloc derives all else from this one number, at
 * the places that use it; but its table of classes is declared in the same file, and gets enough room by the pretence
 * that addresses are longer. Programs that are not jemalloc do not see any of this. */
#if __has_include("jemalloc/internal/sc.h")
#include "jemalloc/internal/jemalloc_preamble.h"
#pragma push_macro("LG_SIZEOF_PTR")
#undef LG_SIZEOF_PTR
#define LG_SIZEOF_PTR 4
#include "jemalloc/internal/sc.h"
#pragma pop_macro("LG_SIZEOF_PTR")
#undef SC_LG_NGROUP
#define SC_LG_NGROUP 3
#endif
