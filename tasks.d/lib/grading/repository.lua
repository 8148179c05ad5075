-- Fetching a submission or tests: by git, or as a plain directory of this machine.
local fs      = require "ctutor.fs"
local process = require "ctutor.process"

local M = {}

local CLONE_SECONDS = 300

-- git asks nobody, reads nobody's settings, runs no helper of an exotic protocol, and takes repositories of other users.
local ENVIRONMENT = {
  GIT_TERMINAL_PROMPT = "0",
  GIT_CONFIG_NOSYSTEM = "1",
  GIT_ALLOW_PROTOCOL  = "file:git:http:https:ssh",
  GIT_SSH_COMMAND     = "ssh -oBatchMode=yes",
  GIT_CONFIG_COUNT    = "1",
  GIT_CONFIG_KEY_0    = "safe.directory",
  GIT_CONFIG_VALUE_0  = "*",
}

local function last_line(text)
  local last
  for line in text:gmatch("[^\n]+") do last = line end
  return last or "it said nothing"
end

local function git(arguments)
  arguments[1], arguments.env, arguments.timeout = "git", ENVIRONMENT, CLONE_SECONDS
  local result, message = process.run(arguments)
  if not result then return nil, message end
  if result.timed_out then return nil, "git took longer than " .. CLONE_SECONDS .. " s" end
  if result.code ~= 0 then return nil, last_line(result.stderr) end
  return true
end

local function is_repository(source)
  if source:find("://", 1, true) or source:match("^[%w.-]+@[%w.-]+:") then return true end
  return fs.exists(source .. "/.git") or fs.exists(source .. "/HEAD")
end

-- Puts the tree of `commit` (nil: the newest) at `into`. Returns true, or nil and why not.
function M.fetch(source, commit, into)
  if source:sub(1, 1) == "-" then return nil, "'" .. source .. "' is neither a path nor a URL" end
  if commit and (commit:sub(1, 1) == "-" or commit:find("[^%w._/-]")) then
    return nil, "'" .. commit .. "' is not the name of a commit"
  end
  if not is_repository(source) then
    if commit then return nil, source .. " is not a git repository, so it has no commit " .. commit end
    if not fs.exists(source) then return nil, "there is nothing at " .. source end
    return fs.copy(source, into)
  end
  local done, message = git { "git", "clone", "--quiet", "--", source, into }
  if not done then return nil, "cannot clone " .. source .. ": " .. message end
  if commit then
    done, message = git { "git", "-C", into, "checkout", "--quiet", "--detach", commit, "--" }
    if not done then return nil, "no commit " .. commit .. " in " .. source .. ": " .. message end
  end
  return fs.remove(into .. "/.git")
end

return M
