/* SPDX-License-Identifier: MIT */
#include "driver/driver_modules.h"

#include "bindings/lib.h"

const luaL_Reg driver_modules[] = {
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
