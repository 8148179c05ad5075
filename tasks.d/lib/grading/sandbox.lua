-- Runs a stranger's program under bubblewrap: own user, pid, mount, network, ipc and uts namespaces, no network, an unprivileged uid, nothing of
-- the machine but /usr read-only, limits on time, memory, processes, file size and output. When the call returns, nothing of it is left.
--
-- Where the worker runs as root, bubblewrap makes the namespaces and the uid is dropped inside; files of the run belong to that uid then. Otherwise
-- bubblewrap's own user namespace does both. The limits are set inside, so that the count of processes is that of one run.
local fs      = require "ctutor.fs"
local process = require "ctutor.process"

local M = {}

local NOBODY = "65534"
local PROCESSES = 64
local SCRATCH_BYTES = 64 * 1024 * 1024

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

local function namespaces(argv)
  append(argv, "bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
    "--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox",
    "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8",
    "--ro-bind", "/usr", "/usr")
  for _, name in ipairs { "bin", "lib", "lib64", "sbin" } do
    if fs.exists("/" .. name) then append(argv, "--symlink", "usr/" .. name, "/" .. name) end
  end
  for _, path in ipairs { "/etc/alternatives", "/etc/ld.so.cache" } do
    if fs.exists(path) then append(argv, "--ro-bind", path, path) end
  end
  append(argv, "--dev", "/dev", "--proc", "/proc", "--size", tostring(SCRATCH_BYTES), "--perms", "1777", "--tmpfs", "/tmp")
  if is_root() then
    append(argv, "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP")
  else
    append(argv, "--unshare-user", "--uid", NOBODY, "--gid", NOBODY, "--cap-drop", "ALL")
  end
end

local function identity(argv)
  if not is_root() then return end
  append(argv, "setpriv", "--reuid=" .. NOBODY, "--regid=" .. NOBODY, "--clear-groups", "--inh-caps=-all",
    "--bounding-set=-all", "--no-new-privs", "unshare", "--user")
end

local function limits(argv, options)
  append(argv, "prlimit", "--nproc=" .. PROCESSES, "--nofile=256", "--core=0",
    "--cpu=" .. math.ceil(options.time) + 1,
    "--as=" .. options.memory, "--fsize=" .. SCRATCH_BYTES)
end

-- Runs options.command (a list) in options.directory, which is seen as /box.
--   writable: the directory itself may be changed (building); otherwise a copy in memory may, and is gone afterwards
--   time: seconds; memory, output: bytes; stdin: text
-- Returns what process.run returns.
function M.run(options)
  local argv = { stdin = options.stdin, timeout = options.time + 1, max_output = options.output, env = { PATH = "/usr/bin:/bin" } }
  namespaces(argv)
  if options.writable then
    append(argv, "--bind", options.directory, "/box", "--chdir", "/box")
  else
    append(argv, "--ro-bind", options.directory, "/submission", "--size", tostring(SCRATCH_BYTES), "--perms", "0777", "--tmpfs", "/box",
      "--chdir", "/box")
  end
  append(argv, "--")
  identity(argv)
  limits(argv, options)
  if not options.writable then append(argv, "sh", "-c", 'cp -R /submission/. /box/ && exec "$@"', "sh") end
  append(argv, unpack(options.command))
  return process.run(argv)
end

-- Makes a tree fit for the uid that the sandbox runs under.
function M.open_up(directory)
  local result, message = process.run { "chmod", "-R", "a+rwX", "--", directory }
  if not result then return nil, message end
  return result.code == 0 or nil, result.stderr
end

-- true, or false and why the kernel or this machine cannot.
function M.is_possible()
  local directory = fs.tempdir() .. "/probe"
  fs.mkdir(directory)
  local result, message = M.run { command = { "true" }, directory = directory, time = 10, memory = 1024 * 1024 * 1024, output = 4096 }
  fs.remove(directory)
  if not result then return false, message end
  if result.code == 0 then return true end
  local said = (result.stderr:match("[^\n]+") or "it said nothing")
  return false, "bubblewrap failed: " .. said
end

return M
