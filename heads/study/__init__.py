"""The published study's open questions, answered on kept features."""
