-- The build. Works with premake 5 (`premake5 gmake`) and with premake 4.3, which Debian packages
-- (`premake4 --file=premake5.lua gmake`); `make` runs the one that is installed.
-- Generated makefiles and objects go to build/, the program to build/moonfleet.

local v5 = filter ~= nil                       -- premake 4 has no filter()
local solve = workspace or solution            -- 5: workspace, 4: solution
local function only(name)
  if v5 then
    filter(name and { "configurations:" .. name } or {})
  else
    configuration(name or {})
  end
end
local function with_symbols()
  if v5 then symbols("On") else flags({ "Symbols" }) end
end
local function with_optimize()
  if v5 then optimize("On") else flags({ "Optimize" }) end
end
local function without(list)
  if v5 then removefiles(list) else excludes(list) end
end

-- pkg-config runs when make runs, not now, so that a source tarball can contain the generated
-- makefiles for a machine without premake, where Lua's module may have another name.
-- make BUNDLE=/abs/dir takes nng, Lua, gumbo and http-parser from there, where scripts/bundle.sh
-- has built them as archives. make SHARED=1 links nothing statically, as distributions require it.
local pkg_config = "$(if $(BUNDLE),PKG_CONFIG_PATH=$(BUNDLE)/lib/pkgconfig) pkg-config"
local function first_of(names, test)
  return "$(shell for m in " .. names .. "; do " .. test .. " && echo $$m && break; done)"
end
local version = "$(or $(LUA),5.4)"
local lua = first_of(("lua? lua-? lua$(subst .,,?) lua"):gsub("%?", version),
  pkg_config .. " --modversion $$m 2>/dev/null | grep -q ^" .. version)
local msgpack = first_of("msgpack-c msgpack", pkg_config .. " --exists $$m")
local modules = lua .. " libcurl openssl jansson libedit libseccomp zlib libidn2"
-- The archive of a library, or nothing if there is none.
local function archive_of(library)
  return ("$(if $(BUNDLE),$(BUNDLE)/lib/%s.a,$(if $(SHARED),,"
    .. "$(filter /%%,$(shell $(CC) -print-file-name=%s.a))))"):format(library, library)
end
-- Lua is linked statically where its archive exists: the interpreter's inner calls then need no
-- jump table, which saves about 5 % in a task that computes.
local lua_archive = archive_of("liblua" .. version)
local static_lua = ("$(if %s,-Xlinker --whole-archive %s -Xlinker --no-whole-archive -lm -ldl)")
  :format(lua_archive, lua_archive)
-- So is gumbo: it then costs nothing until it is used.
local gumbo = "$(or " .. archive_of("libgumbo") .. ",$(shell " .. pkg_config .. " --libs gumbo))"
-- So is the parser of HTTP requests: llhttp, or http-parser where a release has no llhttp
-- (host/net/http_message.c includes the header of the same one). A bundle has http-parser.
local http_parser = "$(if $(BUNDLE),$(BUNDLE)/lib/libhttp_parser.a,$(firstword $(filter /%,"
  .. "$(foreach l,llhttp http_parser,$(foreach k,$(if $(SHARED),,a) so,"
  .. "$(shell $(CC) -print-file-name=lib$l.$k)))) -lhttp_parser))"
-- libxml2 is loaded when it is needed (host/wrap/xml_lib.h), and therefore not linked.
local cflags = "$(shell " .. pkg_config .. " --cflags " .. modules .. " libxml-2.0 gumbo)"
local libs = "$(shell " .. pkg_config .. " --libs " .. modules .. ") -lresolv -ldl -lpthread -lm"
cflags = "$(if $(BUNDLE),-DNNG_STATIC_LIB -DBUNDLED_HTTP_PARSER -I$(BUNDLE)/include) " .. cflags
libs = "$(if $(BUNDLE),$(BUNDLE)/lib/libnng.a,-lnng) " .. static_lua .. " " .. gumbo .. " "
  .. http_parser .. " " .. libs

local warnings = {
  "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wstrict-prototypes",
  "-Wmissing-prototypes", "-Wold-style-definition", "-Wundef", "-Wvla", "-Wcast-qual",
  "$(if $(WERROR),-Werror)", -- for developers: a later compiler or library may warn of more
}

-- Sanitizer builds keep frame pointers for readable stacks, and use -O1 for acceptable speed.
local function instrument(name, kinds, in_lib)
  only(name)
  targetdir("build/" .. name:lower())
  buildoptions({ "-O1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all",
    "-fsanitize=" .. (in_lib or kinds) })
  linkoptions({ "-fsanitize=" .. kinds })
  with_symbols()
end

local function common(what)
  language("C")
  kind(what)
  location("build")
  includedirs({ "host" })
  defines({ "_GNU_SOURCE", "_FILE_OFFSET_BITS=64" })
  buildoptions({ "-std=gnu11", "-fstack-protector-strong", cflags })
  buildoptions(warnings)
  only("Release")
  targetdir("build")
  buildoptions({ "-D_FORTIFY_SOURCE=2" })
  linkoptions({ "-Wl,-z,relro,-z,now" })
  with_optimize()
  with_symbols()                               -- else both link with -s: nothing for debuggers
  instrument("Asan", "address,undefined")
  instrument("Tsan", "thread")
  only("Clang")                                -- a second compiler's warnings; make CC=clang
  targetdir("build/clang")
  with_optimize()
  with_symbols()
  only()
end

-- A program from the host's archive and its own files. Both premakes put link options before the
-- archives of links(), so the archive ($(LDDEPS)) is named again before the libraries that it
-- needs.
local function program(own, more)
  common("ConsoleApp")
  files(own)
  links({ "moonfleet-host" })
  linkoptions({ "-Wl,--as-needed", "$(LDDEPS)", libs, "-Wl,-E", more })
end                                            -- -E: C modules of Lua find the API here

-- Returns the definitions of an array of files as C data, and of their contents.
local function embedded(array, prefix, names, name_of)
  local out, index = {}, {}
  table.sort(names)
  for i, name in ipairs(names) do
    local file = assert(io.open(name, "rb"))
    local text = file:read("*a")
    file:close()
    local literal = text:gsub('[%c"\\?\128-\255]', function(c)
      return c == "\n" and '\\n"\n"' or ("\\%03o"):format(c:byte())
    end)
    out[#out + 1] = ("static const char %s_%d[] =\n\"%s\";\n\n"):format(prefix, i, literal)
    index[i] = ("  {\"%s\", \"%s\", %s_%d, %d},\n"):format(name_of(name), name, prefix, i, #text)
  end
  return table.concat(out) .. "const struct embed_file " .. array .. "[] = {\n"
    .. table.concat(index) .. "  {0, 0, 0, 0},\n};\n\n"
end

local function module_of(name)
  return (name:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

-- Writes the Lua library as C data: source text, since bytecode is not portable between
-- architectures, with names sorted; and what the web page sends to browsers. Rewrites the file only
-- if its content has changed.
local function embed()
  local text = '/* Generated from lua/ by premake5.lua embed. */\n#include "base/embed.h"\n\n'
    .. embedded("embed_files", "source", os.matchfiles("lua/**.lua"), module_of)
    .. embedded("embed_assets", "asset", os.matchfiles("lua/fleet/web/assets/*.*"),
      function(name) return name:match("[^/]+$") end)
  os.mkdir("build/gen")
  local old = io.open("build/gen/embed.c", "rb")
  local same = old and old:read("*a") == text
  if old then old:close() end
  if not same then
    local new = assert(io.open("build/gen/embed.c", "wb"))
    new:write(text)
    new:close()
  end
end

newaction({
  trigger = "embed",
  description = "Write the Lua library as C data to build/gen/embed.c",
  execute = embed,
})

solve("moonfleet")
  configurations({ "Release", "Asan", "Tsan", "Clang", "Fuzz" })
  location("build")

project("moonfleet-host")
  common("StaticLib")
  files({ "host/**.h", "host/**.c", "build/gen/embed.c", "build/gen/commit.c" })
  without({ "host/main.c" })
  instrument("Fuzz", "fuzzer,address,undefined", "fuzzer-no-link,address,undefined")

project("moonfleet")
  program({ "host/main.c" })

-- The tests in C, for code that Lua cannot reach.
project("moonfleet-ctest")
  program({ "spec/host/**.h", "spec/host/**.c" }, "$(shell pkg-config --libs " .. msgpack .. ")")

-- The peer in the first row of bench/run.
project("nng-pingpong")
  common("ConsoleApp")
  files({ "bench/nng_pingpong.c" })
  linkoptions({ libs })

-- What ssh is measured with.
project("pipe-pingpong")
  common("ConsoleApp")
  files({ "bench/pipe_pingpong.c" })

-- One libFuzzer program per file, only in the configuration Fuzz, with clang.
for _, name in ipairs(os.matchfiles("spec/fuzz/*.c")) do
  project(path.getbasename(name))
    program({ name })
    instrument("Fuzz", "fuzzer,address,undefined")
end
