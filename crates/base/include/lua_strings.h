/* Put before every file of Lua by .cargo/config.toml: strings of 32 bytes and more are hashed whole. Lua itself looks
 * at 32 of their bytes at most, and then tells all those that differ elsewhere from each other one by one: a script
 * with sixty thousand of them ran for nine seconds. Short strings have Lua's own hash, and so tables of them their
 * order. The function takes the place of Lua's wherever that is called: a GNU inline function may be defined once
 * more, by the file that has Lua's own. Whole numbers become the same text as by printf, in a tenth of the time.
 * Programs that are not Lua do not see any of this. */
#if __has_include("lstring.h")
#define LUA_CORE
#define loslib_c
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "lua.h"
#include "lmem.h"
#include "lobject.h"
#include "lstate.h"
#include "lstring.h"

/* As "%.14g" writes it. */
static inline void number_text(char *text, double number) {
  char digits[16], *first = digits + sizeof digits;
  if (!(fabs(number) < 1e14) || number != (double)(int64_t)number || (number == 0 && signbit(number))) {
    sprintf(text, LUA_NUMBER_FMT, number);
    return;
  }
  uint64_t rest = (uint64_t)fabs(number);
  *--first = 0;
  do *--first = (char)('0' + rest % 10); while ((rest /= 10) != 0);
  if (number < 0) *text++ = '-';
  memcpy(text, first, (size_t)(digits + sizeof digits - first));
}
#undef lua_number2str
#define lua_number2str(text, number) number_text((text), (number))

static inline uint64_t mix(uint64_t sum, const char *text) {
  uint64_t word;
  memcpy(&word, text, 8);
  sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
  return sum ^ sum >> 32;
}

/* Four words at a time, each into a sum of its own: the processor works on all four at once, and a string of megabytes
 * is read as fast as memory gives it. The last 32 bytes come last, whatever of them was read before. */
static unsigned int string_hash(const char *text, size_t len) {
  uint64_t a = len, b = 1, c = 2, d = 3;
  if (len < 32) {
    unsigned int h = (unsigned int)len;
    while (len-- > 0) h ^= (h << 5) + (h >> 2) + (unsigned char)text[len];
    return h;
  }
  for (const char *last = text + len - 32;; text = text + 32 < last ? text + 32 : last) {
    a = mix(a, text);
    b = mix(b, text + 8);
    c = mix(c, text + 16);
    d = mix(d, text + 24);
    if (text == last) break;
  }
  a = (a ^ b) * 0x9e3779b97f4a7c15u + c;
  return (unsigned int)(((a ^ a >> 32) * 0x9e3779b97f4a7c15u + d) >> 32);
}

__attribute__((weak, visibility("hidden")))
TString *lua_string(lua_State *L, const char *text, size_t len) {
  unsigned int hash = string_hash(text, len);
  stringtable *table = &G(L)->strt;
  for (GCObject *o = table->hash[lmod(hash, table->size)]; o != NULL; o = o->gch.next) {
    TString *string = rawgco2ts(o);
    if (string->tsv.hash == hash && string->tsv.len == len && memcmp(text, getstr(string), len) == 0) {
      if (isdead(G(L), o)) changewhite(o);
      return string;
    }
  }
  if (len > MAX_SIZET - sizeof(TString) - 1) luaM_toobig(L);
  TString *string = luaM_malloc(L, sizeof(TString) + len + 1);
  string->tsv.tt = LUA_TSTRING;
  string->tsv.marked = luaC_white(G(L));
  string->tsv.reserved = 0;
  string->tsv.hash = hash;
  string->tsv.len = len;
  memcpy(string + 1, text, len);
  ((char *)(string + 1))[len] = 0;
  /* Lua's allocator, and so the collector, may have changed the table. */
  GCObject **place = &table->hash[lmod(hash, table->size)];
  string->tsv.next = *place;
  *place = obj2gco(string);
  if (++table->nuse > (lu_int32)table->size && table->size <= MAX_INT / 2) luaS_resize(L, table->size * 2);
  return string;
}

extern inline __attribute__((gnu_inline, always_inline))
TString *luaS_newlstr(lua_State *L, const char *text, size_t len) {
  return lua_string(L, text, len);
}
#endif
