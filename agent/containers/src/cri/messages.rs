//! The messages of the container runtime interface, `runtime.v1`, with the fields that are used here. Others are passed over, as
//! protobuf has it.

use std::collections::HashMap;

use prost::Message;

/// A method without a stream of requests.
pub(super) trait Method {
    type Request: Message + Default;
    type Response: Message + Default;
    const PATH: &'static str;
}

macro_rules! methods {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        $(pub(super) struct $method;
        impl Method for $method {
            type Request = $request;
            type Response = $response;
            const PATH: &'static str = concat!("/runtime.v1.RuntimeService/", stringify!($method));
        })*
    };
}

methods! {
    ListPodSandbox(Empty) -> Sandboxes;
    PodSandboxStatus(SandboxStatusRequest) -> SandboxStatusResponse;
    ListContainers(Empty) -> Containers;
    ListContainerStats(Empty) -> StatsList;
    GetContainerEvents(Empty) -> Event;
}

/// The method that says how one container is, and how it ended.
pub(super) struct AskContainerStatus;

impl Method for AskContainerStatus {
    type Request = ContainerStatusRequest;
    type Response = ContainerStatusResponse;
    const PATH: &'static str = "/runtime.v1.RuntimeService/ContainerStatus";
}

/// The state of a container that has ended.
pub(super) const EXITED: i32 = 2;

/// A request without a filter.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct SandboxStatusRequest {
    #[prost(string, tag = "1")]
    pub(super) pod_sandbox_id: String,
    #[prost(bool, tag = "2")]
    pub(super) verbose: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<SandboxStatus>,
    /// Texts of JSON, by what they are of.
    #[prost(map = "string, string", tag = "2")]
    pub(super) info: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Sandboxes {
    #[prost(message, repeated, tag = "1")]
    pub(super) items: Vec<Sandbox>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Sandbox {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<SandboxMetadata>,
    #[prost(int64, tag = "4")]
    pub(super) created_at: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SandboxStatus {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<SandboxMetadata>,
    #[prost(int64, tag = "4")]
    pub(super) created_at: i64,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct SandboxMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) uid: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Containers {
    #[prost(message, repeated, tag = "1")]
    pub(super) containers: Vec<Container>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Container {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    pub(super) metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "4")]
    pub(super) image: Option<Image>,
    /// See [`EXITED`].
    #[prost(int32, tag = "6")]
    pub(super) state: i32,
    #[prost(int64, tag = "7")]
    pub(super) created_at: i64,
    #[prost(map = "string, string", tag = "8")]
    pub(super) labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct ContainerStatusRequest {
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<ContainerStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerStatus {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<ContainerMetadata>,
    /// See [`EXITED`].
    #[prost(int32, tag = "3")]
    pub(super) state: i32,
    #[prost(int64, tag = "4")]
    pub(super) created_at: i64,
    #[prost(int32, tag = "7")]
    pub(super) exit_code: i32,
    #[prost(message, optional, tag = "8")]
    pub(super) image: Option<Image>,
    #[prost(string, tag = "10")]
    pub(super) reason: String,
    #[prost(map = "string, string", tag = "12")]
    pub(super) labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Image {
    #[prost(string, tag = "1")]
    pub(super) image: String,
    /// As the pod names it; newer runtimes only.
    #[prost(string, tag = "18")]
    pub(super) user_specified_image: String,
}

/// Something happened to a container or sandbox: how they are now.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
    #[prost(message, optional, tag = "4")]
    pub(super) pod_sandbox_status: Option<SandboxStatus>,
    #[prost(message, repeated, tag = "5")]
    pub(super) containers_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StatsList {
    #[prost(message, repeated, tag = "1")]
    pub(super) stats: Vec<Stats>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Stats {
    #[prost(message, optional, tag = "1")]
    pub(super) attributes: Option<Attributes>,
    #[prost(message, optional, tag = "4")]
    pub(super) writable_layer: Option<Filesystem>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Attributes {
    #[prost(string, tag = "1")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Filesystem {
    #[prost(message, optional, tag = "2")]
    pub(super) fs_id: Option<FilesystemId>,
    #[prost(message, optional, tag = "3")]
    pub(super) used_bytes: Option<Number>,
    #[prost(message, optional, tag = "4")]
    pub(super) inodes_used: Option<Number>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct FilesystemId {
    #[prost(string, tag = "1")]
    pub(super) mountpoint: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Number {
    #[prost(uint64, tag = "1")]
    pub(super) value: u64,
}
