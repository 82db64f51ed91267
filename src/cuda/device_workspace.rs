//! The device memory of an engine: what a [`Plan`](super::plan::Plan) asks for, allocated and filled.

use std::sync::Arc;

use cudarc::driver::result::DriverError;

use super::context::Context;
use super::device_memory::DeviceMemory;
use super::plan::Workspace;
use super::stream::OwnStream;
use crate::Result;
use crate::statistics::Standardization;

pub(super) struct DeviceWorkspace(Workspace<DeviceMemory>);

impl DeviceWorkspace {
    /// # Errors
    /// As [`DeviceMemory::allocate`].
    pub fn allocate(context: &Arc<Context>, bytes: Workspace<usize>) -> Result<Self> {
        let allocate = |bytes, purpose| DeviceMemory::allocate(context, bytes, purpose);
        Ok(Self(Workspace {
            standardization: allocate(bytes.standardization, "the class statistics")?,
            counters: allocate(bytes.counters, "the kernels' counters")?,
            standardized: allocate(bytes.standardized, "standardized scores")?,
            suppressed: allocate(bytes.suppressed, "suppressed scores")?,
        }))
    }

    /// Uploads mean and standard deviation of each class, pair by pair, and zeroes the counters. Returns when both are
    /// done.
    pub fn fill(
        &self,
        standardization: Option<&Standardization>,
        stream: &OwnStream,
    ) -> Result<(), DriverError> {
        if let Some(table) = standardization {
            let pairs = table.mean.iter().zip(&table.standard_deviation);
            let pairs: Vec<[f32; 2]> = pairs.map(|(&mean, &deviation)| [mean, deviation]).collect();
            self.0.standardization.write(bytemuck::cast_slice(&pairs))?;
        }
        self.0.counters.zero(stream.raw().handle())?;
        stream.synchronize()
    }

    pub fn addresses(&self) -> Workspace<u64> {
        Workspace {
            standardization: self.0.standardization.address(),
            counters: self.0.counters.address(),
            standardized: self.0.standardized.address(),
            suppressed: self.0.suppressed.address(),
        }
    }

    pub fn bytes(&self) -> usize {
        let Workspace { standardization, counters, standardized, suppressed } = &self.0;
        [standardization, counters, standardized, suppressed].map(DeviceMemory::bytes).iter().sum()
    }
}
