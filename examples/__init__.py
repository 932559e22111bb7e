"""Programs that use the gateway as any client would."""
