/* SPDX-License-Identifier: MIT */
/* libFuzzer: any bytes, read as the files and answers that credentials for AWS
 * are in. No reader raises; what is not refused has the shape that the rest
 * relies on, and a refusal says where. */
#include "driver/driver.h"
#include "event/loop.h"
#include "lua/runtime.h"
#include "lua/vm.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char chunk[] =
    "local ini = require('fleet.aws.ini')\n"
    "local instances = require('fleet.aws.instances')\n"
    "local shell = require('fleet.base.shell')\n"
    "local time = require('fleet.aws.time')\n"
    "local xml_reply = require('fleet.aws.xml_reply')\n"
    "local function name_of(name)\n"
    "  assert(name ~= '' and name == name:lower() and not name:find('\\n'))\n"
    "  assert(not name:find('^%s') and not name:find('%s$'))\n"
    "end\n"
    "local function check_set(set)\n"
    "  for _, properties in pairs(set or {}) do\n"
    "    for name, value in pairs(properties) do\n"
    "      name_of(name)\n"
    "      if type(value) == 'table' then\n"
    "        for key, text in pairs(value) do\n"
    "          name_of(key)\n"
    "          assert(type(text) == 'string')\n"
    "        end\n"
    "      else\n"
    "        assert(type(value) == 'string')\n"
    "        assert(not value:find('^%s') and not value:find('%s$'))\n"
    "      end\n"
    "    end\n"
    "  end\n"
    "end\n"
    "local function check_ini(bytes, kind)\n"
    "  local file, err = ini.parse(bytes, 'f', kind)\n"
    "  if not file then\n"
    "    assert(err.kind == 'config' and err.message:find('^f:[%d ]'))\n"
    "    return\n"
    "  end\n"
    "  check_set(file.profiles)\n"
    "  check_set(file.services)\n"
    "end\n"
    "return function(bytes)\n"
    "  check_ini(bytes, 'config')\n"
    "  check_ini(bytes, 'credentials')\n"
    "  local list, fault = shell.split(bytes)\n"
    "  assert(list or type(fault) == 'string')\n"
    "  local code = xml_reply.read(bytes, { code = 'Error/Code' }).code\n"
    "  assert(code == nil or (type(code) == 'string' and code ~= ''))\n"
    "  local page, err = instances.parse(bytes)\n"
    "  assert(page or err.kind ~= '' and err.message ~= '')\n"
    "  for _, instance in ipairs(page and page.instances or {}) do\n"
    "    assert(#instance.id > 0)\n"
    "    for key, value in pairs(instance.tags) do\n"
    "      assert(#key > 0 and type(value) == 'string')\n"
    "    end\n"
    "  end\n"
    "  local at = time.iso(bytes) or time.http(bytes) or 0\n"
    "  assert(math.type(at) == 'integer')\n"
    "end\n";

struct input {
  const uint8_t *data;
  size_t size;
};

static int check_ref; /* its address is the key of the function */

LJMP static int l_load(lua_State *L)
{
  if (luaL_loadstring(L, chunk) != LUA_OK) return lua_error(L);
  lua_call(L, 0, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &check_ref);
  return 0;
}

LJMP static int l_check(lua_State *L)
{
  const struct input *in = lua_touserdata(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &check_ref);
  lua_pushlstring(L, (const char *)in->data, in->size);
  lua_call(L, 1, 0);
  return 0;
}

static void must(int rc, const struct err *e)
{
  if (rc == 0) return;
  fprintf(stderr, "%s\n", e->text);
  abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  /* a state for each input: memory that outlives one makes libFuzzer look for
   * leaks after every input, which takes longer than all of this */
  struct err e;
  struct vm_host host = {.loop = loop_new(&e)};
  struct input in = {data, size};
  struct vm_options options = {.host = &host, .modules = driver_modules};
  struct vm *vm = host.loop ? runtime_new(&options, &e) : NULL;
  if (!vm) abort();
  must(vm_pcall(vm, l_load, NULL, &e), &e);
  must(vm_pcall(vm, l_check, &in, &e), &e);
  runtime_free(vm);
  loop_free(host.loop);
  return 0;
}
