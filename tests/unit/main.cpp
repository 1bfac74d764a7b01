// The program around all unit tests of one floor: CAF's own test engine.
#include "caf/test/unit_test.hpp"
#include "caf/test/unit_test_impl.hpp"
