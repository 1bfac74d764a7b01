// Precompiled for the actors: CAF's templates cost seconds a file otherwise.
#include "pch_runtime.hpp"

#include <caf/all.hpp>
