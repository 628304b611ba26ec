/* SPDX-License-Identifier: MIT */
#include "worker/worker_modules.h"

#include "bindings/lib.h"

const luaL_Reg worker_modules[] = {
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
