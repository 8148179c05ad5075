-- Fetching a submission or the tests, by git or from a directory of this machine, as one tar file.
--
-- A submission is never unpacked outside the sandbox: no link, no name and no depth of it meets anything of the machine. git archive and tar write one
-- file under a limit of size, which also bounds how many entries it has.
local fs      = require "ctutor.fs"
local process = require "ctutor.process"
local text    = require "grading.text"

local M = {}

local CLONE_SECONDS, PACK_SECONDS = 300, 60
local CLONE_BYTES, PACK_BYTES = "1G", "64M"

-- git asks nobody, reads nobody's settings, runs no helper of an exotic protocol, and takes repositories of other users.
local ENVIRONMENT = {
  GIT_TERMINAL_PROMPT = "0",
  GIT_CONFIG_NOSYSTEM = "1",
  GIT_ALLOW_PROTOCOL  = "file:git:http:https:ssh",
  GIT_SSH_COMMAND     = "ssh -oBatchMode=yes",
  GIT_CONFIG_COUNT    = "1",
  GIT_CONFIG_KEY_0    = "safe.directory",
  GIT_CONFIG_VALUE_0  = "*",
  GIT_NO_LAZY_FETCH   = "1", -- a partial clone would be completed from wherever its settings say
  LC_ALL              = "C.UTF-8",
}

-- A URL may carry a password.
local function without_secret(words) return (words:gsub("://[^/@%s]*@", "://")) end

-- What went wrong stands first; git and ssh go on with advice, tar with its status.
local function complaint(stderr)
  for line in stderr:gmatch("[^\n]+") do
    if line:find("%S") and not line:find("^[Ww]arning:") and not line:find("^hint:") then return line end
  end
  return text.last_line(stderr)
end

-- Runs a program that is ours. Its output, or nil and why.
local function run(arguments, seconds, file_size)
  arguments.env, arguments.timeout, arguments.limits = ENVIRONMENT, seconds, { file_size = file_size }
  local result, message = process.run(arguments)
  if not result then return nil, message end
  if result.timed_out then return nil, arguments[1] .. " took longer than " .. seconds .. " s" end
  if result.signal == "SIGXFSZ" then return nil, "it is larger than " .. file_size end
  if result.code == 0 then return result.stdout end
  return nil, without_secret(complaint(result.stderr) or arguments[1] .. " failed and said nothing")
end

local function is_url(source) return source:find("^%a[%w+.-]*://") or source:find("^[%w._-]+@[%w.-]+:") end

local function is_repository(source)
  return is_url(source) or fs.exists(source .. "/.git") or fs.exists(source .. "/HEAD") and fs.exists(source .. "/objects")
end

local function from_git(source, commit, archive)
  local clone, shown = archive .. ".git", without_secret(source)
  local done, message = run({ "git", "clone", "--quiet", "--bare", "--no-hardlinks", "--", source, clone }, CLONE_SECONDS, CLONE_BYTES)
  if not done then return nil, "cannot clone " .. shown .. ": " .. message end
  local found = run({ "git", "-C", clone, "rev-parse", "--verify", "--quiet", (commit or "HEAD") .. "^{commit}" }, PACK_SECONDS)
  if not found then return nil, commit and "no commit " .. commit .. " in " .. shown or shown .. " has no commits" end
  done, message = run({ "git", "-C", clone, "archive", "--format=tar", "--output=" .. archive, found:match("%x+") }, PACK_SECONDS, PACK_BYTES)
  fs.remove(clone)
  if not done then return nil, "cannot take the files of " .. shown .. ": " .. message end
  return true
end

-- Packs the files of a directory into a tar file. true, or nil and why not.
function M.pack(directory, archive)
  local done, message = run({ "tar", "-cf", archive, "-C", directory, "." }, PACK_SECONDS, PACK_BYTES)
  if not done then return nil, "cannot take the files of " .. directory .. ": " .. message end
  return true
end

-- Packs the files of `commit` (nil: the newest) into a tar file. true, or nil and why not.
function M.fetch(source, commit, archive)
  if not is_url(source) and source:sub(1, 1) ~= "/" then
    return nil, "'" .. source .. "' is neither an absolute path nor a URL"
  end
  if commit and (commit:sub(1, 1) == "-" or commit:find("[^%w._/-]")) then
    return nil, "'" .. commit .. "' is not the name of a commit"
  end
  if is_repository(source) then return from_git(source, commit, archive) end
  if not fs.exists(source) then return nil, "there is nothing at " .. source end
  if commit then return nil, source .. " is not a git repository, so it has no commit " .. commit end
  return M.pack(source, archive)
end

-- For files that are trusted: the tests. true, or nil and why not.
function M.unpack(archive, directory)
  fs.mkdir(directory)
  local done, message = run({ "tar", "-xf", archive, "-C", directory, "--no-same-owner" }, PACK_SECONDS, PACK_BYTES)
  if not done then return nil, message end
  return true
end

return M
