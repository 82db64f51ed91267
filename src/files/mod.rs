//! Files in and out: saved logits, vectors, score maps, labels, official class statistics and pictures.
//!
//! Every reader takes its input for hostile or broken until proven otherwise. Headers are checked against the size
//! that the file really has before anything is allocated, so that a file of a few bytes can neither claim gigabytes
//! nor keep the reader busy; nothing in a file is ever executed. Every writer goes through [`write_whole`]: a file
//! is either there and complete, or not there. A refusal is one [`Error::File`](crate::Error::File) or
//! [`Error::Io`](crate::Error::Io) that names the file, what it holds and what was expected.

mod arrays;
mod checkpoint;
pub mod export;
mod hdf5;
mod npy;
mod npy_header;
mod npz;
mod official_statistics;
mod pickle;
mod pickle_names;
mod pickle_stream;
#[cfg(feature = "cli")]
mod picture_list;
mod pictures;
mod safetensors;
mod safetensors_checkpoint;
mod score_maps;
mod torch_checkpoint;
mod torch_state;
mod whole_file;

pub use arrays::LogitsFile;
pub use checkpoint::{Checkpoint, CheckpointFormat, StoredTensor, StoredType};
pub use npy::{NpyElement, read_npy_vector, write_npy};
pub use official_statistics::{read_class_vector, read_official};
#[cfg(feature = "cli")]
pub use picture_list::list_pictures;
pub use pictures::{
    PictureSource, ScoreScale, decode_labels, decode_picture, read_labels, read_picture, read_picture_bytes,
    write_grey_png, write_rgb_png, write_score_png,
};
pub use safetensors_checkpoint::write_safetensors;
pub use score_maps::{decode_label_map, read_label_map, read_score_map};
pub use whole_file::{prepare_folder, read_at_most, write_whole};
