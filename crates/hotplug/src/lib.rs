//! Native network hotplug programs for Xen.
//!
//! Every program is one pass through the same stages: words as given ([`invocation`]), what is asked ([`request`]), what is there
//! ([`host`]), what to do ([`plan`]), doing it ([`apply`]) and telling of it ([`report`]).

pub mod apply;
pub mod dhcp;
pub mod dry_run;
pub mod entry;
pub mod firewall;
pub mod guest_filter;
pub mod host;
pub mod inspect;
pub mod interface_name;
pub mod invocation;
pub mod mac_address;
pub mod memory;
pub mod openvswitch;
pub mod operation;
pub mod pass;
pub mod plan;
pub mod program;
pub mod record;
pub mod report;
pub mod request;
pub mod sessions;
pub mod sysctl;
pub mod system;
pub mod vlan;
