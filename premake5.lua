-- The build. Runs under premake 5 (`premake5 gmake`) and under premake 4.3, which is
-- what Debian packages (`premake4 --file=premake5.lua gmake`); `make` does that for you.
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

-- pkg-config runs when make runs, not now: the generated makefiles can travel in a source
-- tarball to a machine without premake, where Lua's module has another name.
local function first_of(names, test)
  return "$(shell for m in " .. names .. "; do " .. test .. " && echo $$m && break; done)"
end
local version = "$(or $(LUA),5.4)"
local lua = first_of(("lua? lua-? lua$(subst .,,?) lua"):gsub("%?", version),
  "pkg-config --modversion $$m 2>/dev/null | grep -q ^" .. version)
local msgpack = first_of("msgpack-c msgpack", "pkg-config --exists $$m")
local modules = lua .. " libcurl openssl jansson libedit libseccomp zlib libidn2"
-- Lua itself is linked whole and static where Debian's archive is: the interpreter's inner
-- calls then need no jump table, which is worth some 5 % on a task that computes.
local archive = "$(filter /%,$(shell $(CC) -print-file-name=liblua" .. version .. ".a))"
local static_lua = ("$(if %s,-Xlinker --whole-archive %s -Xlinker --no-whole-archive -lm -ldl)")
  :format(archive, archive)
-- gumbo is linked static where its archive is, too: it costs a process that reads no page nothing.
local gumbo = "$(or $(filter /%,$(shell $(CC) -print-file-name=libgumbo.a)),"
  .. "$(shell pkg-config --libs gumbo))"
-- libxml2 is loaded when it is needed (host/wrap/xml_lib.h), so not linked.
local cflags = "$(shell pkg-config --cflags " .. modules .. " libxml-2.0 gumbo)"
local libs = "$(shell pkg-config --libs " .. modules .. ") -lresolv -ldl -lpthread -lm"
-- make NNG_PREFIX=/abs/dir links the static nng installed there; without it, the system's.
cflags = "$(if $(NNG_PREFIX),-DNNG_STATIC_LIB -I$(NNG_PREFIX)/include) " .. cflags
libs = static_lua .. " " .. gumbo .. " " .. libs
libs = "$(if $(NNG_PREFIX),$(NNG_PREFIX)/lib/libnng.a -latomic,-lnng) " .. libs

local warnings = {
  "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wstrict-prototypes",
  "-Wmissing-prototypes", "-Wold-style-definition", "-Wundef", "-Wvla", "-Wcast-qual",
  "$(if $(WERROR),-Werror)", -- for developers: a later compiler or library may warn of more
}

-- Sanitizer builds keep frame pointers for readable stacks and -O1 for bearable speed.
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

-- A program out of the host's archive and its own files. Both premakes put link options
-- before the archives that links() names, so the archive ($(LDDEPS)) is named once more,
-- before the libraries it needs.
local function program(own, more)
  common("ConsoleApp")
  files(own)
  links({ "moonfleet-host" })
  linkoptions({ "-Wl,--as-needed", "$(LDDEPS)", libs, "-Wl,-E", more })
end                                            -- -E: C modules of Lua find the API here

-- The Lua library as C data: source (bytecode is not portable between architectures),
-- names sorted, the file rewritten only when its content changed.
local function embed()
  local names = os.matchfiles("lua/**.lua")
  table.sort(names)
  local out = { "/* Generated from lua/ by premake5.lua embed. */\n#include \"base/embed.h\"\n\n" }
  local index = {}
  for i, name in ipairs(names) do
    local file = assert(io.open(name, "rb"))
    local text = file:read("*a")
    file:close()
    local module = name:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
    local literal = text:gsub('[%c"\\\128-\255]', function(c)
      return c == "\n" and '\\n"\n"' or ("\\%03o"):format(c:byte())
    end)
    out[#out + 1] = ("static const char source_%d[] =\n\"%s\";\n\n"):format(i, literal)
    index[i] = ("  {\"%s\", \"%s\", source_%d, %d},\n"):format(module, name, i, #text)
  end
  out[#out + 1] = "const struct embed_file embed_files[] = {\n" .. table.concat(index)
    .. "  {0, 0, 0, 0},\n};\n"
  local text = table.concat(out)
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
  files({ "host/**.h", "host/**.c", "build/gen/embed.c" })
  without({ "host/main.c" })
  instrument("Fuzz", "fuzzer,address,undefined", "fuzzer-no-link,address,undefined")

project("moonfleet")
  program({ "host/main.c" })

-- The tests that Lua cannot reach.
project("moonfleet-ctest")
  program({ "spec/host/**.h", "spec/host/**.c" }, "$(shell pkg-config --libs " .. msgpack .. ")")

-- The peer of the first row of bench/run.
project("nng-pingpong")
  common("ConsoleApp")
  files({ "bench/nng_pingpong.c" })
  linkoptions({ libs })

-- One libFuzzer program per file; only in configuration Fuzz, with clang.
for _, name in ipairs(os.matchfiles("spec/fuzz/*.c")) do
  project(path.getbasename(name))
    program({ name })
    instrument("Fuzz", "fuzzer,address,undefined")
end
