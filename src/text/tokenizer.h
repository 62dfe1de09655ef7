// Byte-level BPE; its declarations are part of the public interface.
#pragma once

#include "precis/tokenizer.h"
