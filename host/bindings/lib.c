/* SPDX-License-Identifier: MIT */
#include "bindings/lib.h"

#include <math.h>

uint64_t lib_ms(lua_Number seconds)
{
  if (seconds > 1e6) return 1000000000;
  /* less a nanosecond: on processors that reckon with more digits than a double
   * has, 0.2 * 1e3 is above 200 */
  double ms = ceil(seconds * 1e3 - 1e-6);
  return ms > 1 ? (uint64_t)ms : 1;
}
