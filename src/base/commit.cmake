# Writes OUT, a header with the commit that SOURCE is at, where it says something else: run at every build.
# In an archive made by git, commit.txt holds the commit; elsewhere outside a repository it is not known.
set(commit "unknown")
file(STRINGS ${SOURCE}/src/base/commit.txt archived LIMIT_COUNT 1)
if(archived MATCHES "^[0-9a-f]+$")
  set(commit ${archived})
elseif(GIT AND EXISTS ${SOURCE}/.git)
  # A build may run as another user than the one whose files they are.
  set(git ${GIT} -C ${SOURCE} -c safe.directory=${SOURCE})
  execute_process(COMMAND ${git} rev-parse HEAD OUTPUT_VARIABLE head RESULT_VARIABLE failed
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT failed)
    set(commit ${head})
    execute_process(COMMAND ${git} --no-optional-locks status --porcelain --untracked-files=no
                    OUTPUT_VARIABLE changes ERROR_QUIET)
    if(changes)
      string(APPEND commit "-changed")
    endif()
  endif()
endif()
set(text "#define LOB_COMMIT \"${commit}\"\n")
if(EXISTS ${OUT})
  file(READ ${OUT} before)
endif()
if(NOT "${before}" STREQUAL "${text}")
  file(WRITE ${OUT} "${text}")
endif()
