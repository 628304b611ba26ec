/* SPDX-License-Identifier: MIT */
#include "lib.h"

#include <math.h>

const luaL_Reg lib_for_jobs[] = {
    {"host.codec", luaopen_host_codec},
    {"host.digest", luaopen_host_digest},
    {"host.http", luaopen_host_http},
    {"host.job", luaopen_host_job},
    {"host.json", luaopen_host_json},
    {"host.log", luaopen_host_log},
    {"host.task", luaopen_host_task},
    {"host.xml", luaopen_host_xml},
    {NULL, NULL},
};

const luaL_Reg lib_for_driver[] = {
    {"host.child", luaopen_host_child},
    {"host.codec", luaopen_host_codec},
    {"host.digest", luaopen_host_digest},
    {"host.dns", luaopen_host_dns},
    {"host.driver", luaopen_host_driver},
    {"host.edit", luaopen_host_edit},
    {"host.file", luaopen_host_file},
    {"host.http", luaopen_host_http},
    {"host.json", luaopen_host_json},
    {"host.log", luaopen_host_log},
    {"host.program", luaopen_host_program},
    {"host.rpc", luaopen_host_rpc},
    {"host.stream", luaopen_host_stream},
    {"host.sys", luaopen_host_sys},
    {"host.task", luaopen_host_task},
    {"host.xml", luaopen_host_xml},
    {NULL, NULL},
};

uint64_t lib_ms(lua_Number seconds)
{
  if (seconds > 1e6) return 1000000000;
  /* less a nanosecond: on processors that reckon with more digits than a double
   * has, 0.2 * 1e3 is above 200 */
  double ms = ceil(seconds * 1e3 - 1e-6);
  return ms > 1 ? (uint64_t)ms : 1;
}
