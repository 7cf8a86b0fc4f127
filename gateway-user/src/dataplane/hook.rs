//! Which side of the router an interface is on, and how a program hooks into it.

/// Which side of the router an interface is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The Internet's.
    Wan,
    /// The LLN's.
    Lln,
}

impl Role {
    /// The program for this side.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Wan => "wan",
            Self::Lln => "lln",
        }
    }

    /// The number that it has in `role` of `INTERFACES`.
    pub const fn number(self) -> u32 {
        match self {
            Self::Wan => 1,
            Self::Lln => 2,
        }
    }

    /// The role with that number.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Wan),
            2 => Some(Self::Lln),
            _ => None,
        }
    }
}

/// How a program hooks into an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Native where the driver has it, else generic.
    Auto,
    /// In the driver.
    Native,
    /// In the network stack.
    Generic,
}

impl Mode {
    /// The number that it has in `mode` of `INTERFACES`.
    pub const fn number(self) -> u32 {
        match self {
            Self::Auto => 0,
            Self::Native => 1,
            Self::Generic => 2,
        }
    }

    /// The name of a number in `mode` of `INTERFACES`.
    pub const fn name_of(number: u32) -> &'static str {
        match number {
            1 => "native",
            2 => "generic",
            _ => "unknown",
        }
    }
}
