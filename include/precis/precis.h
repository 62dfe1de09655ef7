// Everything of the library's interface.
#pragma once

#include "precis/error.h"
#include "precis/log.h"
#include "precis/model.h"
#include "precis/span.h"
#include "precis/stop.h"
#include "precis/summary.h"
#include "precis/tokenizer.h"
