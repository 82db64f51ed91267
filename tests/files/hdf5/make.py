"""Makes the files beside this script with h5py, whose own library is the reference for the format.

    pip install h5py==3.16.0 && python make.py

Every array that is to be read holds (17 * row + column) / 8 - 10 in 12 rows and 17 columns, which float16 holds exactly.
"""
import h5py
import numpy as np

MAP = (np.arange(12 * 17).reshape(12, 17) / 8 - 10)


def make(name, data, dataset="value", libver=None, **options):
    with h5py.File(name + ".hdf5", "w", libver=libver) as file:
        file.create_dataset(dataset, data=data, **options)


f16 = MAP.astype(np.float16)
# Are read.
make("benchmark", f16, compression=9)  # as SegmentMeIfYouCan's program writes it
make("chunks", f16, chunks=(5, 7), compression=4)
make("plain", MAP.astype(np.float32))
make("big_endian_shuffled", MAP.astype(">f8"), chunks=(12, 4), compression=1, shuffle=True)
make("other_name", f16, dataset="anomaly")
make("batch", f16[None], chunks=(1, 12, 17), compression=9)
make("latest_plain", MAP.astype(np.float64), libver="latest")
make("latest_single", f16, libver="latest", chunks=(12, 17), compression=9)
make("latest_list", MAP.astype(np.float32), libver="latest", chunks=(5, 7), compression=9, shuffle=True)
make("v110_single", f16, libver=("v110", "v110"), chunks=(12, 17), compression=9)
make("v110_list", MAP.astype(np.float32), libver=("v110", "v110"), chunks=(5, 7), compression=9, shuffle=True)
make("latest_bare_list", f16, libver="latest", chunks=(5, 7))
with h5py.File("several.hdf5", "w") as file:
    for index in range(20):
        file.create_dataset(f"other_{index:02}", data=np.zeros(3))
    file.create_group("group")
    file.create_dataset("value", data=f16).attrs["method"] = "sml"
# Are refused.
make("integers", np.arange(6).reshape(2, 3))
make("vector", f16[0])
make("lzf", f16, compression="lzf")
make("checksums", f16, chunks=(5, 7), fletcher32=True)
make("extensible", f16, libver="latest", chunks=(5, 7), maxshape=(None, 17))
make("text", np.array([b"a", b"b"]))
with h5py.File("empty.hdf5", "w"):
    pass
with h5py.File("two.hdf5", "w") as file:
    file["a"], file["b"] = f16, f16
with h5py.File("unfilled.hdf5", "w") as file:
    file.create_dataset("value", (12, 17), np.float16, chunks=(5, 7), compression=9)
