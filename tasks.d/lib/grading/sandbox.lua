-- Runs a stranger's program under bubblewrap: own user, pid, mount, network, ipc and uts namespaces, no network, an unprivileged uid, nothing of
-- the machine but /usr read-only, limits on time, memory, processes, file size and output. When the call returns, nothing of it is left.
--
-- Files go in as tar files and are unpacked inside, into memory; at most one tar file comes out. So whatever a program makes, a thousand nested
-- directories or a full disk, is gone with its namespace, and the machine never walks through it.
--
-- Where the worker runs as root, bubblewrap makes the namespaces and the uid is dropped inside; otherwise its own user namespace does both. Either way no
-- further user namespace can be made, so nothing inside ever holds a capability. The limits are set inside: the count of processes is that of one run.
local fs      = require "ctutor.fs"
local process = require "ctutor.process"
local text    = require "grading.text"

local M = {}

local NOBODY = "65534"
local PROCESSES = 32
local FILE_BYTES = 64 * 1024 * 1024
local SCRATCH_BYTES = 128 * 1024 * 1024
local STARTUP_SECONDS = 0.5 -- for making the namespaces and unpacking

-- In the user namespace, with capabilities for the last time.
local DROP = [[echo 0 > /proc/sys/user/max_user_namespaces || exit
exec setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all --no-new-privs -- "$@"]]

-- As the program's user. $1: what to run afterwards to keep the files.
local UNPACK = [[mkdir /tmp/work && cd /tmp/work || exit
for archive in /input/*.tar; do [ ! -e "$archive" ] || tar -xf "$archive" || exit; done
keep=$1; shift
[ -n "$keep" ] || exec "$@"
"$@" && exec tar -cf /product.tar .]]

local function append(list, ...)
  for i = 1, select("#", ...) do list[#list + 1] = (select(i, ...)) end
end

local am_root -- of this process; asked once

local function is_root()
  if am_root == nil then
    local result = process.run { "id", "-u" }
    am_root = result ~= nil and result.stdout:match("^0\n") ~= nil
  end
  return am_root
end

local function file_system(argv, options)
  append(argv, "--ro-bind", "/usr", "/usr", "--perms", "0755", "--dir", "/etc")
  for _, name in ipairs { "bin", "lib", "lib64", "sbin" } do
    if fs.exists("/" .. name) then append(argv, "--symlink", "usr/" .. name, "/" .. name) end
  end
  for _, path in ipairs { "/etc/alternatives", "/etc/ld.so.cache" } do
    if fs.exists(path) then append(argv, "--ro-bind", path, path) end
  end
  append(argv, "--dev", "/dev", "--proc", "/proc", "--size", tostring(SCRATCH_BYTES), "--perms", "1777", "--tmpfs", "/tmp",
    "--perms", "0755", "--dir", "/input")
  for i, archive in ipairs(options.input) do append(argv, "--ro-bind", archive, "/input/" .. i .. ".tar") end
  if options.product then append(argv, "--bind", options.product, "/product.tar") end
  append(argv, "--remount-ro", "/", "--remount-ro", "/dev") -- they are memory, too
end

-- choom: should the machine run out of memory, this goes first.
local function namespaces(argv, options)
  append(argv, "choom", "-n", "1000", "--", "bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
    "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--hostname", "sandbox", "--clearenv",
    "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8")
  file_system(argv, options)
  if is_root() then
    append(argv, "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP", "--",
      "setpriv", "--reuid=" .. NOBODY, "--regid=" .. NOBODY, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
      "unshare", "--user", "--map-user=" .. NOBODY, "--map-group=" .. NOBODY, "--keep-caps", "sh", "-c", DROP, "sh")
  else
    append(argv, "--unshare-user", "--disable-userns", "--uid", NOBODY, "--gid", NOBODY, "--cap-drop", "ALL", "--")
  end
end

-- Runs options.command (a list) in a directory that holds the files of options.input (a list of tar files; later ones win).
--   product: an existing file; gets the directory as a tar file when the command succeeds
--   time: seconds; memory, output: bytes; stdin: text
-- Returns what process.run returns; a program ended by signal n has exit code 128 + n.
function M.run(options)
  local argv = {
    stdin = options.stdin, timeout = options.time + STARTUP_SECONDS, max_output = options.output, env = { PATH = "/usr/bin:/bin" },
  }
  namespaces(argv, options)
  append(argv, "prlimit", "--nproc=" .. PROCESSES, "--nofile=256", "--core=0", "--as=" .. options.memory, "--fsize=" .. FILE_BYTES,
    "sh", "-c", UNPACK, "sh", options.product and "keep" or "")
  append(argv, unpack(options.command))
  return process.run(argv)
end

-- An empty file that the program's user may write. true, or nil and why not.
function M.make_product(path)
  local result, message = process.run { "install", "-m", "666", "/dev/null", path }
  if not result then return nil, message end
  return result.code == 0 or nil, result.stderr
end

-- true, or false and why the kernel or this machine cannot.
function M.is_possible()
  local result, message = M.run { command = { "true" }, input = {}, time = 10, memory = 1024 * 1024 * 1024, output = 4096 }
  if not result then return false, message end
  if result.timed_out then return false, "bubblewrap did not end" end
  if result.code == 0 then return true end
  return false, text.line(text.last_line(result.stderr) or "bubblewrap failed and said nothing", 300)
end

return M
