//! Messages that show at a glance what is wrong, for Slack and Teams: `style: rich`.
//!
//! Both show the same [`Card`]: a headline in the colour of the severity, what all alerts have in common as facts, the alerts that
//! fire and those that are resolved with their values and since when, and buttons. Lists are bounded and say how many are missing;
//! a message that is too large still is made of fewer alerts, until it fits.

mod card;
mod slack;
mod teams;

pub(super) use slack::slack;
pub(super) use teams::teams;

/// The value of the setting `style` that asks for these.
pub(crate) const STYLE: &str = "rich";
/// The value of the setting `style` that asks for what Alertmanager sends.
pub(crate) const STYLE_PLAIN: &str = "plain";
