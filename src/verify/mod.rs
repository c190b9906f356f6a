//! Verification and trust policy. Pure: policy, evidence, trust and time come in, a verdict goes out.
