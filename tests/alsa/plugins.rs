//! PCMs that need no hardware.
