// A stretch of a source text.
#pragma once

#include "precis/span.h"
