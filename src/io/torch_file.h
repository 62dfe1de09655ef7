// State dicts as torch.save() writes them (torch/serialization.py): the zip archive of PyTorch 1.6 and later,
// and the older format of pickles one after another. No pickle is run (pickle.h).
#pragma once

#include <filesystem>

#include "io/weight_file.h"

namespace precis {

// A dict of names to tensors or parameters; tensors that share a storage share its bytes. Error{kModel} for
// anything else: other globals than tensors need, values that are no tensors, tensors that are not contiguous
// or reach beyond their storage, storages of another size than they say, a pickle of more than 64 MiB, a file
// that was not written on a little-endian machine, or that was cut. Flipped bytes within a weight are not
// noticed: the format has no digest that torch itself would check.
WeightFile open_torch_file(const std::filesystem::path& path);

}  // namespace precis
