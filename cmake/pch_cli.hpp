// Precompiled for the command line: what its commands include anyway.
#include "pch_actors.hpp"

#include <CLI/CLI.hpp>
